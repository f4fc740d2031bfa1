/**
 * From process start to the guest's first output byte: a micro-guest with 128 MiB and one vCPU. A C program that makes
 * the same KVM calls, the public API from its sources, the same bundled, and the command line take turns. Times are of
 * the parent: from the spawn to the byte on the child's standard output.
 */
import { cpSync } from 'node:fs'
import { Assembler } from '../support/micro-guest.ts'
import { Skip, Workshop } from './c-program.ts'
import { median, medianRatio, printTable } from './table.ts'

const ROUNDS = 15
const COM1 = 0x3f8
const RUN = ['run', '--host', 'kvm', '--mem', '128', '--kernel']
const ROOT = new URL('../../', import.meta.url).pathname

/** A way to start, and what was measured of it in each round. */
interface Candidate {
  readonly name: string
  readonly command: readonly string[]
  /** Exit status of a run that went well. */
  readonly status: number
  readonly firstByteMs: number[]
  readonly endMs: number[]
  /** Touched guest memory included: a few pages. */
  readonly peakRssMiB: number[]
  /** Per step, in the order of the first run: milliseconds after the spawn. */
  readonly steps: Map<string, number[]>
}

/** Measures and prints. */
export async function start(): Promise<void> {
  if (process.arch !== 'x64') throw new Skip('its guest is x86 code')
  using workshop = new Workshop()
  const image = await workshop.write('guest', new Assembler().eax(0x21).out8(COM1).exit(0).image())
  const bundle = await bundleChild(workshop)
  const candidates = [
    candidate('C', [workshop.compile('start'), image]),
    candidate('Machine', [process.execPath, `${ROOT}test/bench/start-child.ts`, image]),
    candidate('Machine, bundled', [process.execPath, bundle, image]),
    // The debug exit with value 0 is status 1.
    candidate('bulkhead run', [process.execPath, `${ROOT}src/cli.ts`, ...RUN, image], 1),
  ]
  // The first round warms up the page cache.
  for (let round = 0; round <= ROUNDS; round++) for (const each of candidates) await measure(each, round > 0)
  printSummary(candidates)
  for (const each of candidates) if (each.steps.size > 0) printSteps(each)
}

function candidate(name: string, command: readonly string[], status = 0): Candidate {
  return { name, command, status, firstByteMs: [], endMs: [], peakRssMiB: [], steps: new Map() }
}

async function measure(each: Candidate, keep: boolean): Promise<void> {
  const spawnMs = wallMs()
  const child = Bun.spawn([...each.command], { stdout: 'pipe', stderr: 'pipe' })
  const first = await child.stdout.getReader().read()
  const firstByteMs = wallMs() - spawnMs
  const report = await new Response(child.stderr).text()
  await child.exited
  const endMs = wallMs() - spawnMs
  if (first.done || child.exitCode !== each.status) throw new Error(`${each.name} failed: ${report}`)
  if (!keep) return
  each.firstByteMs.push(firstByteMs)
  each.endMs.push(endMs)
  for (const line of report.split('\n')) {
    const [step = '', ns] = line.split('\t')
    if (ns === undefined) continue
    if (step === 'peak RSS KiB') {
      each.peakRssMiB.push(Number(ns) / 1024)
      continue
    }
    const times = each.steps.get(step) ?? []
    times.push(Number(ns) / 1e6 - spawnMs)
    each.steps.set(step, times)
  }
}

/** The child as the program would be shipped in one piece: a script, the Workers beside it, the data files. */
async function bundleChild(workshop: Workshop): Promise<string> {
  const outdir = workshop.path('bundle')
  const workers = ['device-worker', 'vcpu-worker'].map(name => `${ROOT}src/machine/${name}.ts`)
  const built = await Bun.build({
    entrypoints: [`${ROOT}test/bench/start-child.ts`, ...workers],
    target: 'bun',
    minify: true,
    naming: '[name].js',
    outdir,
  })
  if (!built.success) throw new Error(`the bundle failed: ${built.logs.join('\n')}`)
  cpSync(`${ROOT}firmware/dsdt.aml`, `${outdir}/firmware/dsdt.aml`)
  return `${outdir}/start-child.js`
}

function printSummary(candidates: readonly Candidate[]): void {
  const baseline = candidates[0]?.firstByteMs ?? []
  const rows = candidates.map(each => [
    each.name,
    median(each.firstByteMs).toFixed(1),
    `${Math.min(...each.firstByteMs).toFixed(1)} to ${Math.max(...each.firstByteMs).toFixed(1)}`,
    each.firstByteMs === baseline ? '' : medianRatio(each.firstByteMs, baseline).toFixed(1),
    median(each.endMs).toFixed(1),
    each.peakRssMiB.length > 0 ? median(each.peakRssMiB).toFixed(1) : '',
  ])
  const head = ['', 'first byte ms', 'range', 'ratio to C', 'process end ms', 'peak RSS MiB']
  printTable('start, from spawn to the first byte of the guest (128 MiB, 1 vCPU)', head, rows)
}

/** Steps by the time when they were done; those of other threads overlap the main thread's. */
function printSteps(each: Candidate): void {
  const steps = Array.from(each.steps, ([step, times]) => ({ step, at: median(times) })).sort((a, b) => a.at - b.at)
  const rows = steps.map(({ step, at }, i) => [step, at.toFixed(2), (at - (steps[i - 1]?.at ?? 0)).toFixed(2)])
  printTable(`start, steps of ${each.name}`, ['', 'done at ms', 'after ms'], rows)
}

function wallMs(): number {
  return performance.timeOrigin + performance.now()
}

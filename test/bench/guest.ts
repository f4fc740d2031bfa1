/**
 * The default guest: from the command to its first line of output, by phase, and the memory that it takes. Where this
 * host's KVM cannot run Linux, that is a run in the rig, and the phases of both processes appear.
 */
import { Skip } from './c-program.ts'
import { processTree } from './process-memory.ts'
import { median, printTable, spread } from './table.ts'

const ROUNDS = 3
const CLI = new URL('../../src/cli.ts', import.meta.url).pathname
const RUN = ['run', '--loglevel', 'debug', '--timeout', '900', '--', 'uname', '-a']
/** What `Log.phase` writes. */
const PHASE = /^bulkhead: phase (.+) at ([0-9.]+) ms$/
/** What `run` tells of itself when the guest has ended; in the rig it comes from the process inside. */
const MEMORY = /^bulkhead: memory beyond guest RAM: ([0-9]+) KiB$/

/** One run as it was seen from outside. */
export interface ObservedRun {
  readonly status: number
  readonly output: string
  /** Phases and the first output, in order of arrival: milliseconds after the spawn. */
  readonly steps: readonly { readonly name: string; readonly atMs: number }[]
  /** Memory at the first output, by process. */
  readonly memory: ReadonlyMap<string, number>
  /** The last line on standard error. */
  readonly lastError: string
}

/** Measures and prints. */
export async function guest(): Promise<void> {
  const command = [process.execPath, CLI, ...RUN]
  // The first run fetches and builds what later runs find.
  const first = await observe(command)
  if (first.status !== 0)
    throw new Skip(`the default guest does not run here (status ${first.status}): ${first.lastError}`)
  const runs: ObservedRun[] = []
  for (let round = 0; round < ROUNDS; round++) runs.push(await observe(command))
  printSteps(first, runs)
  printMemory(runs)
}

/** Runs `command` and keeps the time of everything that it says. */
export async function observe(command: readonly string[]): Promise<ObservedRun> {
  const start = performance.now()
  const steps: { name: string; atMs: number }[] = []
  const child = Bun.spawn([...command], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  let memory: ReadonlyMap<string, number> = new Map()
  let output = ''
  let lastError = ''
  const listenOutput = async () => {
    for await (const chunk of child.stdout) {
      if (output === '') {
        steps.push({ name: 'first output', atMs: performance.now() - start })
        memory = processTree(child.pid)
      }
      output += new TextDecoder().decode(chunk)
    }
  }
  const listenErrors = async () => {
    const inner = new Map<string, number>()
    for await (const line of lines(child.stderr)) {
      const [, name] = PHASE.exec(line) ?? []
      const [, kib] = MEMORY.exec(line) ?? []
      if (name !== undefined) steps.push({ name: unused(name, steps), atMs: performance.now() - start })
      else if (kib !== undefined) inner.set('bulkhead, at the guest', Number(kib) / 1024)
      else lastError = line
    }
    return inner
  }
  const [, inner] = await Promise.all([listenOutput(), listenErrors()])
  const status = await child.exited
  steps.push({ name: 'process end', atMs: performance.now() - start })
  return { status, output, steps, memory: new Map([...memory, ...inner]), lastError }
}

/** In the rig each phase may come twice, first from the outer process, then from the inner one. */
function unused(name: string, steps: readonly { readonly name: string }[]): string {
  return steps.some(step => step.name === name) ? `in the rig: ${name}` : name
}

function printSteps(first: ObservedRun, runs: readonly ObservedRun[]): void {
  const names = runs[0]?.steps.map(step => step.name) ?? []
  let previous = 0
  const rows = names.map(name => {
    const times = runs.map(run => run.steps.find(step => step.name === name)?.atMs ?? Number.NaN)
    const at = median(times)
    const row = [name, at.toFixed(0), (at - previous).toFixed(0), `${(spread(times) * 100).toFixed(0)} %`]
    previous = at
    return row
  })
  printTable(`guest, ${RUN.slice(-2).join(' ')} in the default guest`, ['', 'at ms', 'after ms', 'spread'], rows)
  console.log(`  first run on this machine or since a change: ${((first.steps.at(-1)?.atMs ?? 0) / 1000).toFixed(1)} s`)
  console.log(`  ${first.output.trim()}`)
}

function printMemory(runs: readonly ObservedRun[]): void {
  const names = [...(runs[0]?.memory.keys() ?? [])]
  const rows = names.map(name => [name, median(runs.map(run => run.memory.get(name) ?? Number.NaN)).toFixed(1)])
  printTable('guest, memory beyond guest RAM', ['', 'MiB'], rows)
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
  if (rest !== '') yield rest
}

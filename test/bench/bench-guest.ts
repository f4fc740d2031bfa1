/** The bench guest (guests/bench): its build from the C sources, and its report. */
import { readdirSync } from 'node:fs'
import { Skip, type Workshop } from './c-program.ts'

const SOURCES = new URL('../../guests/bench/', import.meta.url).pathname

/** Freestanding code for any x86-64 processor, without registers that the guest does not set up. */
const COMPILE = [
  ...['-O2', '-std=gnu11', '-Wall', '-Wextra', '-ffreestanding', '-mgeneral-regs-only', '-mno-red-zone'],
  ...['-fno-pic', '-no-pie', '-fno-stack-protector', '-fcf-protection=none', '-fno-asynchronous-unwind-tables'],
] as const
const LINK = ['-nostdlib', '-static', '-Wl,--build-id=none', '-Wl,-z,max-page-size=4096,-z,norelro'] as const

/** What the guest ends with after its last test: the debug exit with value 0. */
const DONE = 1
/** The guest gives up on a device sooner; this is for a guest that never gets that far. */
const TIME_LIMIT_MS = 120_000

/** The figures of one run, by `WORD.metric`. */
export type Report = ReadonlyMap<string, number>

/** Compiles the guest; throws `Skip` without the tools. */
export function buildBenchGuest(workshop: Workshop): string {
  if (process.arch !== 'x64') throw new Skip('its guest is x86 code')
  const sources = readdirSync(SOURCES).filter(name => /\.[cS]$/.test(name))
  const wide = workshop.path('bench-guest-64')
  const image = workshop.path('bench-guest')
  const inputs = ['-T', `${SOURCES}guest.ld`, ...sources.map(name => SOURCES + name)]
  runTool('gcc', [...COMPILE, ...LINK, '-o', wide, ...inputs])
  // QEMU's multiboot loader takes no 64-bit ELF file.
  runTool('objcopy', ['-O', 'elf32-i386', wide, image])
  return image
}

/** The rate of this host's time stamp counter, which is the guest's too. */
export function measureTscKhz(workshop: Workshop): number {
  return Number(Bun.spawnSync([workshop.compile('tsc')]).stdout.toString())
}

/** Runs a machine with the guest in it to its end; throws with the guest's or the program's own words. */
export async function runBenchGuest(command: readonly string[]): Promise<Report> {
  const child = Bun.spawn([...command], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', timeout: TIME_LIMIT_MS })
  const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  const status = await child.exited
  if (status !== DONE) throw new Error(`${command[0]} ended with status ${status}: ${lastLines(output, errors)}`)
  return parseReport(output)
}

/** Lines `WORD.metric value unit`; others are not figures. */
export function parseReport(output: string): Report {
  const figures = new Map<string, number>()
  for (const line of output.split(/\r?\n/)) {
    const [, name, value] = /^(\S+\.[a-z0-9]+) (\d+)(?: \S*)?$/.exec(line) ?? []
    if (name !== undefined) figures.set(name, Number(value))
  }
  return figures
}

function lastLines(...texts: readonly string[]): string {
  return texts.map(text => text.trim().split('\n').at(-1)).join(' | ')
}

function runTool(tool: string, words: readonly string[]): void {
  const program = Bun.which(tool)
  if (program === null) throw new Skip(`the bench guest needs ${tool} (apt install gcc binutils)`)
  const { exitCode, stderr } = Bun.spawnSync([program, ...words])
  if (exitCode !== 0) throw new Skip(`${tool} does not build the bench guest: ${stderr.toString().trim()}`)
}

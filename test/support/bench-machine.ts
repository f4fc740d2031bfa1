/** A machine with the bench guest (guests/bench) in it, run to its end. */
import { readFileSync } from 'node:fs'
import type { MachineConfig } from '../../src/machine/config.ts'
import { Machine } from '../../src/machine/machine.ts'
import { buildBenchGuest, parseReport, type Report } from '../bench/bench-guest.ts'
import { Workshop } from '../bench/c-program.ts'

/** Any rate will do where no time is looked at. */
const TSC_KHZ = 2_000_000

export interface BenchRun {
  readonly outcome: unknown
  readonly output: string
  readonly report: Report
}

/** Runs the tests `words` on a disk and an entropy device. `watch` sees the machine before it starts. */
export async function runBenchTests(
  words: string,
  disk: string,
  config: Partial<MachineConfig> = {},
  watch: (machine: Machine) => void = () => {},
): Promise<BenchRun> {
  using workshop = new Workshop()
  const image = new Uint8Array(readFileSync(buildBenchGuest(workshop)))
  await using machine = new Machine({
    memoryMiB: 128,
    cpus: 1,
    kernel: { image, name: 'bench-guest' },
    cmdline: `tsc_khz=${TSC_KHZ} ${words}`,
    devices: [{ kind: 'disk', path: disk }, { kind: 'rng' }],
    ...config,
  })
  let output = ''
  machine.consoles[0]?.onOutput(bytes => {
    output += new TextDecoder('latin1').decode(bytes)
  })
  watch(machine)
  await machine.start()
  const outcome = await machine.finished
  return { outcome, output, report: parseReport(output) }
}

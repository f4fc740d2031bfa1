/**
 * What an exit costs: out of the guest, decoded, answered, back in. The same guest code under a C loop, under
 * `Vcpu.enter` with nothing around it, and in a whole machine. The loops take turns, round by round.
 */
import { Skip, Workshop } from './c-program.ts'
import { type Access, exitGuest, type GuestMode } from './exit-guest.ts'
import { BareLoop, CLoop, type ExitLoop, MachineLoop } from './exit-loops.ts'
import { median, medianRatio, printTable, spread } from './table.ts'

/** Many short rounds: the loops of one round see the same load of the machine. */
const ROUNDS = 25
const ROUND_MS = 40

/** POST code: the platform maps it as silent. Nothing is at the memory address. */
const SILENT_PORT = 0x80
const RTC_INDEX_PORT = 0x70
const RTC_DATA_PORT = 0x71
const UNMAPPED_ADDRESS = 0xd000_0000

const ACCESSES: readonly { readonly name: string; readonly access: Access; readonly counter: 'io' | 'mmio' }[] = [
  { name: 'port write', access: { kind: 'out8', port: SILENT_PORT }, counter: 'io' },
  { name: 'port read', access: { kind: 'in8', port: SILENT_PORT }, counter: 'io' },
  { name: 'MMIO write', access: { kind: 'store32', address: UNMAPPED_ADDRESS }, counter: 'mmio' },
  { name: 'MMIO read', access: { kind: 'load32', address: UNMAPPED_ADDRESS }, counter: 'mmio' },
]

/** Measures and prints; throws `Skip` where there is no KVM. */
export async function exits(): Promise<void> {
  if (process.arch !== 'x64') throw new Skip('its guests are x86 code')
  using workshop = new Workshop()
  const program = workshop.compile('exits')
  for (const mode of ['emulated', 'native'] as const) {
    const rows: string[][] = []
    for (const { name, access, counter } of ACCESSES) {
      const image = exitGuest(mode, access)
      await using loops = new AsyncDisposableStack()
      const candidates = {
        C: loops.use(new CLoop(program, await workshop.write('guest', image))),
        'Vcpu.enter and decode': loops.use(new BareLoop(image)),
        'vCPU thread, answered there': loops.use(await MachineLoop.start(image, counter)),
      }
      rows.push(...(await compare(name, candidates)))
    }
    rows.push(...(await forwarded(workshop, program, mode)))
    printTable(`exits, guest code ${describe(mode)}`, ['', 'us/exit', 'spread', 'ratio to C'], rows)
  }
}

/** Accesses that reach the device thread; C has no such thread, so its plain exit is the baseline. */
async function forwarded(workshop: Workshop, program: string, mode: GuestMode): Promise<string[][]> {
  const read = exitGuest(mode, { kind: 'in8', port: RTC_DATA_PORT })
  const write = exitGuest(mode, { kind: 'out8', port: RTC_INDEX_PORT })
  await using loops = new AsyncDisposableStack()
  // Awaited here: the loops are closed when this function returns.
  return await compare('device thread', {
    'C, port read': loops.use(new CLoop(program, await workshop.write('guest', read))),
    'port read, waits for the answer': loops.use(await MachineLoop.start(read, 'forwarded')),
    'port write, posted, endless': loops.use(await MachineLoop.start(write, 'posted')),
  })
}

/** One row for each loop; the first is the baseline. */
async function compare(name: string, loops: Readonly<Record<string, ExitLoop>>): Promise<string[][]> {
  const samples = Object.entries(loops).map(([label, loop]) => ({ label, loop, values: [] as number[] }))
  // The first round warms up: the JIT compiles, pages are touched.
  for (let round = 0; round <= ROUNDS; round++)
    for (const { loop, values } of samples) {
      const value = await loop.measure(ROUND_MS)
      if (round > 0) values.push(value)
    }
  const baseline = samples[0]?.values ?? []
  return samples.map(({ label, values }) => [
    `${name}: ${label}`,
    (median(values) / 1000).toFixed(2),
    `${(spread(values) * 100).toFixed(0)} %`,
    values === baseline ? '' : medianRatio(values, baseline).toFixed(3),
  ])
}

function describe(mode: GuestMode): string {
  return mode === 'native' ? 'at CPL 3 (runs on the processor)' : 'at CPL 0 (page-table KVM emulates it)'
}

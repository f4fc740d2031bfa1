import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineStat } from '../../src/control/machine-control.ts'
import { type CliRun, Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'
import { lineWith } from '../support/refusal.ts'

/** Tells every half a second how many NMIs there were. */
const SCRIPT = `while :; do set -- $(grep NMI: /proc/interrupts); echo "NMIs $2"; sleep 0.5; done`

const place = new Place({ ownCache: false })
let run: CliRun
beforeAll(async () => {
  await prepareGuest()
  run = startGuest(place, ['--name', 'guest', '-m', '256', '--', 'sh', '-c', SCRIPT], { timeoutMs: 3 * BOOT_LIMIT_MS })
  await run.saw('NMIs 0\n')
}, SETUP_LIMIT_MS)
afterAll(async () => {
  run.child.kill('SIGTERM')
  await run.result
  place[Symbol.dispose]()
})

const told = async (...args: string[]) => {
  const { status, stdout, stderr } = await place.bulkhead(args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}
const statOf = async () => (JSON.parse(await told('stat', 'guest', '--json')) as MachineStat[])[0]!
/** Exits and what went between guest and devices; the latter makes no exits of its own. */
const doings = ({ exits, devices }: MachineStat) =>
  [...Object.values(exits[0]!), ...devices.flatMap(device => [device.notifications, device.interrupts])].reduce(
    (total, count) => total + count,
    0,
  )
const registers = async () => {
  const { registers } = JSON.parse(await told('debug', 'guest', '--json')) as { registers: Record<string, string> }
  return registers
}

/** In order: each finds the guest as the one before left it, and the last one ends it. */
describe.sequential('a guest that runs', () => {
  it('is listed', async () => {
    const [, row, ...more] = (await told('list')).trimEnd().split('\n')
    expect(row).toMatch(new RegExp(`^guest +${run.child.pid} +running +(kvm|rig) +1 +256M +[0-9.]+s +\\S`))
    expect(more).toEqual([])
    const facts = { name: 'guest', pid: run.child.pid, state: 'running', cpus: 1, memoryMiB: 256 }
    expect(JSON.parse(await told('list', '--json'))).toMatchObject([facts])
  })

  it('tells what it has done, and more as it goes on', async () => {
    expect(await told('stat', 'guest')).toMatch(/^guest: running for [0-9.]+s, 1 vCPU, 256 MiB, [0-9]+ MiB resident/)
    const before = await statOf()
    await sleep(2000)
    const after = await statOf()
    expect(doings(after)).toBeGreaterThan(doings(before))
    expect(after.uptimeMs).toBeGreaterThan(before.uptimeMs)
  })

  it('makes no exits while it is paused', async () => {
    await told('pause', 'guest')
    const before = await statOf()
    expect(before.state).toBe('paused')
    expect(await told('list')).toMatch(/ paused /)
    await sleep(1500)
    const after = await statOf()
    expect(after.exits).toEqual(before.exits)
    expect(doings(after)).toBe(doings(before))
  })

  it('shows registers of 64-bit Linux, and the same memory by either address', async () => {
    const { rip, cr3, cr0 } = await registers()
    // Canonical: bits 63 to 47 are all the same.
    expect([0n, 0x1_ffffn]).toContain(BigInt(rip!) >> 47n)
    // Protected mode and paging.
    expect(BigInt(cr0!) & 0x8000_0001n).toBe(0x8000_0001n)
    const code = await told('debug', 'guest', '--virtual', '--memory', `${rip},16`)
    expect(code).toMatch(/^[0-9a-f]{16}( {1,2}[0-9a-f]{2}){16} /)
    const table = await told('debug', 'guest', '--memory', `0x${(BigInt(cr3!) & ~0xfffn).toString(16)},4096`)
    // The top page table has entries, and they are marked present and user or kernel.
    expect(table.split('\n')).toHaveLength(257)
    expect(table).toMatch(/ [0-9a-f][37] /)
  })

  it('goes on when it is resumed', async () => {
    const before = await statOf()
    await told('resume', 'guest')
    expect((await statOf()).state).toBe('running')
    await sleep(1500)
    expect(doings(await statOf())).toBeGreaterThan(doings(before))
  })

  it('takes an NMI and goes on', async () => {
    await told('debug', 'guest', '--nmi')
    await run.saw('NMIs 1\n')
    await told('debug', 'guest', '--nmi')
    await run.saw('NMIs 2\n')
  })

  it('takes a SysRq key', async () => {
    // Shows the registers on the kernel's console, which goes nowhere here, and leaves the guest alone.
    await told('debug', 'guest', '--sysrq', 'p')
    expect((await statOf()).state).toBe('running')
  })

  it('keeps its name', async () => {
    const second = await place.bulkhead(['run', '--loglevel', 'error', '--name', 'guest', '--', 'true'])
    expect(second).toMatchObject({ status: 2, stdout: '', stderr: lineWith('called "guest" runs already') })
  })

  it('is ended by stop within seconds', async () => {
    const started = performance.now()
    await told('stop', 'guest')
    const { status, stderr } = await run.result
    expect(status).toBe(119)
    expect(stderr).toContain('bulkhead: stopped\n')
    expect(performance.now() - started).toBeLessThan(15_000)
    expect(place.leftovers()).toEqual([])
  })
})

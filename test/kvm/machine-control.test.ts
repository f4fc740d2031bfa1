import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { BadInput } from '../../src/base/errors.ts'
import { machineControl } from '../../src/control/machine-control.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { SCRATCH } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine, until } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const VALUE = 0x4433_2211

/** A guest that writes VALUE to SCRATCH, keeps it in EAX, and spins; started and there. */
async function spinning(): Promise<Machine> {
  const machine = microMachine(new Assembler().eax(VALUE).store(SCRATCH).spin(), { cpus: 2 })
  await machine.start()
  await sleep(20)
  return machine
}
const control = (machine: Machine) =>
  machineControl(machine, { name: 'one', kernel: 'micro-guest', startedMs: performance.now() - 5000 })

describeUnless(missingKvm(), 'machineControl', () => {
  it('tells what runs', async () => {
    await using machine = await spinning()
    const stat = await control(machine)('stat', {})
    expect(stat).toMatchObject({
      name: 'one',
      pid: process.pid,
      state: 'running',
      kernel: 'micro-guest',
      cpus: 2,
      memoryMiB: 16,
    })
    expect((stat as { uptimeMs: number }).uptimeMs).toBeGreaterThanOrEqual(5000)
    expect((stat as { exits: unknown[] }).exits).toHaveLength(2)
  })

  it('pauses once however often it is asked, and resumes', async () => {
    await using machine = await spinning()
    const ask = control(machine)
    await ask('pause', {})
    await ask('pause', {})
    expect(await ask('stat', {})).toMatchObject({ state: 'paused' })
    await ask('resume', {})
    await ask('resume', {})
    expect(await ask('stat', {})).toMatchObject({ state: 'running' })
  })

  it('takes a new size of the terminal, and refuses what is none', async () => {
    await using machine = await spinning()
    const ask = control(machine)
    expect(await ask('resize', { cols: 120, rows: 40 })).toBe(null)
    const refusal = "a terminal's rows are 0 to 65535"
    await expect(ask('resize', { cols: 120, rows: 65_536 })).rejects.toThrow(refusal)
    await expect(ask('resize', { cols: 120 })).rejects.toThrow(refusal)
  })

  it('shows registers without stopping the guest for good', async () => {
    await using machine = await spinning()
    const answer = await control(machine)('registers', { vcpu: 0 })
    expect(answer).toMatchObject({ values: { rax: '0x44332211' } })
    expect((answer as { text: string }).text).toContain('rax    0000000044332211')
    expect(machine.isPaused).toBe(false)
  })

  it('reads memory by physical and by virtual address', async () => {
    await using machine = await spinning()
    const base64 = Buffer.from([0x11, 0x22, 0x33, 0x44]).toString('base64')
    const address = `0x${SCRATCH.toString(16)}`
    expect(await control(machine)('memory', { address, size: 4 })).toEqual({ base64 })
    expect(await control(machine)('memory', { address, size: 4, virtual: true })).toEqual({ base64 })
  })

  it.each([
    ['nonsense', {}, 'this version knows no request "nonsense"'],
    ['registers', { vcpu: 2 }, 'the guest has vCPUs 0 to 1'],
    ['registers', { vcpu: 0.5 }, 'the guest has vCPUs 0 to 1'],
    ['nmi', { vcpu: -1 }, 'the guest has vCPUs 0 to 1'],
    ['memory', { address: '0x0', size: 0 }, 'size must be 1 to 1048576 bytes'],
    ['memory', { address: '0x0', size: 2 ** 20 + 1 }, 'size must be 1 to 1048576 bytes'],
    ['memory', { address: 'here', size: 1 }, 'an address is a number'],
    ['memory', { address: '0xffffff', size: 2 }, '2 bytes at 0xffffff are not all guest memory'],
    ['memory', { address: '0xffffffffffffffff', size: 1 }, 'are not all guest memory'],
    ['sysrq', { key: 'bb' }, 'a SysRq key is one of 0-9 and a-z'],
  ])('refuses %s %j in one sentence', async (method, params, message) => {
    await using machine = await spinning()
    const answer = control(machine)(method, params)
    await expect(answer).rejects.toThrow(BadInput)
    await expect(answer).rejects.toThrow(message)
    expect(machine.isPaused).toBe(false)
  })

  it('stops the guest', async () => {
    await using machine = await spinning()
    await control(machine)('stop', {})
    expect(await machine.finished).toEqual({ type: 'stopped' })
  })

  it('sends a break and the key for SysRq', async () => {
    const code = new Assembler()
    // Echoes the line status, then the byte: once for the break, once for the key.
    for (let turn = 0; turn < 2; turn++) {
      const wait = code.here
      // in al, LSR; test al, 1; jz wait; mov [SCRATCH + turn], al
      code.in8(0x3fd).raw(0xa8, 0x01, 0x74, wait - code.here - 4)
      code.raw(0xa2, ...new Uint8Array(new Uint32Array([SCRATCH + 2 * turn]).buffer))
      code.in8(0x3f8).raw(0xa2, ...new Uint8Array(new Uint32Array([SCRATCH + 2 * turn + 1]).buffer))
    }
    await using machine = microMachine(code.exit(0))
    await machine.start()
    const key = control(machine)('sysrq', { key: 'b' })
    await machine.finished
    await key
    const [breakStatus, breakByte, , keyByte] = machine.memory().read(SCRATCH, 4)!
    expect([breakStatus! & 0x11, breakByte, keyByte]).toEqual([0x11, 0, 0x62])
  })

  it('injects a non-maskable interrupt', async () => {
    await using machine = await spinning()
    await control(machine)('nmi', { vcpu: 0 })
    // The guest has no handler, so the interrupt ends it.
    expect(await machine.finished).toMatchObject({ type: 'fault', vcpu: 0 })
    await until(() => !machine.isPaused)
  })
})

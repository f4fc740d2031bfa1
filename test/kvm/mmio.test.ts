import { expect, it } from 'vitest'
import { BadInput } from '../../src/base/errors.ts'
import { machineControl } from '../../src/control/machine-control.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const ECAM = 0xe000_0000
const RNG = ECAM + (1 << 15)
const RNG_ID = 0x1044_1af4
const COMMAND = 4
const MEMORY = 2
/** Where the BAR of the first device is: VIRTIO 1.2 §4.1.4.3, device_status and queue_desc. */
const COMMON = 0xc000_0000
const DEVICE_STATUS = COMMON + 0x14
const QUEUE_DESC = COMMON + 0x20
const ACKNOWLEDGE = 1

/** A guest that spins beside an entropy device. */
async function spinning(): Promise<Machine> {
  const machine = microMachine(new Assembler().spin(), { devices: [{ kind: 'rng' }] })
  await machine.start()
  return machine
}
const control = (machine: Machine) =>
  machineControl(machine, { name: 'one', kernel: 'micro-guest', startedMs: performance.now() })
const hex = (value: number) => `0x${value.toString(16)}`

describeUnless(missingKvm(), 'Machine', () => {
  it('reads registers of devices and of configuration space', async () => {
    await using machine = await spinning()
    expect(await machine.readMmio(RNG, 4)).toBe(BigInt(RNG_ID))
    expect(await machine.readMmio(RNG, 2)).toBe(0x1af4n)
  })

  it('writes them, with all that the device does then', async () => {
    await using machine = await spinning()
    const before = await machine.readMmio(DEVICE_STATUS, 1)
    await machine.writeMmio(DEVICE_STATUS, 1, ACKNOWLEDGE)
    expect([before, await machine.readMmio(DEVICE_STATUS, 1)]).toEqual([0n, 1n])
    // Memory decoding off: the BAR is gone.
    await machine.writeMmio(RNG + COMMAND, 2, 0)
    await expect(machine.readMmio(DEVICE_STATUS, 1)).rejects.toThrow(BadInput)
    await machine.writeMmio(RNG + COMMAND, 2, MEMORY)
    expect(await machine.readMmio(DEVICE_STATUS, 1)).toBe(1n)
  })

  it('carries 64 bits whole', async () => {
    await using machine = await spinning()
    await machine.writeMmio(QUEUE_DESC, 8, 0xfedc_ba98_7654_3210n)
    expect(await machine.readMmio(QUEUE_DESC, 8)).toBe(0xfedc_ba98_7654_3210n)
  })

  it('does so while the guest is paused, which it stays', async () => {
    await using machine = await spinning()
    await machine.pause()
    expect(await machine.readMmio(RNG, 4)).toBe(BigInt(RNG_ID))
    expect(machine.isPaused).toBe(true)
    machine.resume()
  })
})

describeUnless(missingKvm(), 'machineControl', () => {
  it('reads and writes a register', async () => {
    await using machine = await spinning()
    const ask = control(machine)
    expect(await ask('mmio', { address: hex(DEVICE_STATUS), size: 1, value: '0x1' })).toBe(null)
    expect(await ask('mmio', { address: hex(DEVICE_STATUS), size: 1 })).toEqual({ value: '0x1' })
  })

  it.each([
    [{ address: 'here', size: 4 }, 'an address is a number'],
    [{ address: '0xffffffffffffffff', size: 4 }, 'a register has an address below 2^53'],
    [{ address: hex(RNG), size: 3 }, 'a register has 1, 2, 4 or 8 bytes'],
    [{ address: hex(RNG) }, 'a register has 1, 2, 4 or 8 bytes'],
    [{ address: '0x1000', size: 4 }, 'no device has 4 bytes of registers at 0x1000'],
    [{ address: hex(DEVICE_STATUS), size: 1, value: '0x100' }, 'is a number of at most 8 bits'],
    [{ address: hex(DEVICE_STATUS), size: 1, value: 1 }, 'is a number of at most 8 bits'],
  ])('refuses %j in one sentence', async (params, message) => {
    await using machine = await spinning()
    const answer = control(machine)('mmio', params)
    await expect(answer).rejects.toThrow(BadInput)
    await expect(answer).rejects.toThrow(message)
  })
})

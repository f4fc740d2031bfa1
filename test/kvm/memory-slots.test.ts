import { afterAll, beforeAll, expect, it } from 'vitest'
import { Mapping } from '../../src/host/mapping.ts'
import { MemorySlots } from '../../src/machine/memory-slots.ts'
import { BareGuest, DEVICE, SCRATCH } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { Watchdog } from '../support/watchdog.ts'

const PAGE = 0x1000
const PORT = 0x510
const VALUE = 0x4433_2211
const ANSWER = 0x8877_6655

let watchdog: Watchdog
beforeAll(() => {
  watchdog = new Watchdog()
})
afterAll(() => watchdog[Symbol.asyncDispose]())

/** A guest with its RAM in slot 0, and two pages of memory that a device could have. */
function fixture(code: Assembler) {
  using opened = new DisposableStack()
  const device = opened.use(Mapping.anonymous(2 * PAGE))
  const guest = opened.use(new BareGuest(code.exit(0).code(), watchdog))
  const slots = new MemorySlots(guest.vm, 1)
  const word = (offset: number) => new DataView(device.bytes().buffer).getUint32(offset, true)
  const resources = opened.move()
  return { guest, slots, device, word, [Symbol.dispose]: () => resources.dispose() }
}

describeUnless(missingKvm(), 'MemorySlots', () => {
  it('lets the guest read and write memory of a device without an exit', () => {
    const code = new Assembler()
      .eax(VALUE)
      .store(DEVICE)
      .load(DEVICE + PAGE)
    using machine = fixture(code.store(SCRATCH))
    new DataView(machine.device.bytes().buffer).setUint32(PAGE, ANSWER, true)
    machine.slots.map(DEVICE, 2 * PAGE, machine.device.address)
    expect(machine.guest.run()).toEqual([])
    expect([machine.word(0), machine.guest.word(SCRATCH)]).toEqual([VALUE, ANSWER])
  })

  it('takes it away, and puts it elsewhere', () => {
    const code = new Assembler().eax(VALUE).store(DEVICE).out8(PORT)
    code.store(DEVICE + 4).store(DEVICE + 8 * PAGE + 8)
    using machine = fixture(code)
    machine.slots.map(DEVICE, PAGE, machine.device.address)
    expect(machine.guest.enter()).toMatchObject({ kind: 'io', port: PORT })
    machine.slots.unmap(DEVICE)
    machine.slots.map(DEVICE + 8 * PAGE, PAGE, machine.device.address)
    expect(machine.guest.run()).toEqual([{ at: DEVICE + 4, write: true, size: 4, hex: '11223344' }])
    expect([0, 4, 8].map(machine.word)).toEqual([VALUE, 0, VALUE])
  })

  it('is as before when KVM refuses memory over RAM', () => {
    using machine = fixture(new Assembler().eax(VALUE).store(DEVICE))
    expect(() => machine.slots.map(0, PAGE, machine.device.address)).toThrow(/EEXIST/)
    machine.slots.map(DEVICE, PAGE, machine.device.address)
    expect(machine.guest.run()).toEqual([])
    expect(machine.word(0)).toBe(VALUE)
  })
})

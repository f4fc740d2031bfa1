import { afterAll, beforeAll, expect, it } from 'vitest'
import { EventFd } from '../../src/host/eventfd.ts'
import { KVM_IRQCHIP_IOAPIC } from '../../src/kvm/uapi.ts'
import type { BareGuest } from '../support/bare-guest.ts'
import { COUNTS, interruptGuest, nextSign, READY, Redirection, redirect, TAKEN } from '../support/interrupt-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import type { Assembler } from '../support/micro-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { Watchdog } from '../support/watchdog.ts'

const DOORBELL = 0xfee0_0000
const OTHER_CPU = 0xfee0_5000
const VECTOR = 0x41
const OTHER_VECTOR = 0x52
const PIN = 20
const PIC_VECTOR = 0x60
const COM1_IRQ = 4

let watchdog: Watchdog
beforeAll(() => {
  watchdog = new Watchdog()
})
afterAll(() => watchdog[Symbol.asyncDispose]())

/** A guest that halts and takes two vectors. */
function halted(prepare?: (code: Assembler) => Assembler): BareGuest {
  const guest = interruptGuest([VECTOR, OTHER_VECTOR], watchdog, prepare)
  expect(nextSign(guest)).toMatchObject({ port: READY })
  return guest
}
const count = (guest: BareGuest, vector: number) => guest.word(COUNTS + 4 * vector)

describeUnless(missingKvm(), 'signalMsi', () => {
  it('interrupts the vCPU that it names', () => {
    using guest = halted()
    expect(guest.vm.signalMsi(DOORBELL, VECTOR)).toBe(1)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: VECTOR })
    expect(guest.vm.signalMsi(DOORBELL, OTHER_VECTOR)).toBe(1)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: OTHER_VECTOR })
    expect([count(guest, VECTOR), count(guest, OTHER_VECTOR)]).toEqual([1, 1])
  })

  it('says 0 for a vCPU that there is not, and interrupts nobody', () => {
    using guest = halted()
    expect(guest.vm.signalMsi(OTHER_CPU, VECTOR)).toBe(0)
    guest.vm.signalMsi(DOORBELL, OTHER_VECTOR)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: OTHER_VECTOR })
    expect(count(guest, VECTOR)).toBe(0)
  })
})

describeUnless(missingKvm(), 'an irqfd', () => {
  it('interrupts through a pin of the IOAPIC, once for each signal', () => {
    using guest = halted(code => redirect(code, PIN, VECTOR, Redirection.edge))
    using event = EventFd.create()
    guest.vm.addIrqfd(event.fd, PIN)
    for (const turn of [1, 2, 3]) {
      event.signal()
      expect(nextSign(guest)).toEqual({ port: TAKEN, value: VECTOR })
      expect(count(guest, VECTOR)).toBe(turn)
    }
    expect(event.take()).toBe(0)
  })

  it('interrupts with the message that its GSI is routed to', () => {
    using guest = halted()
    using event = EventFd.create()
    guest.vm.setGsiRouting([{ gsi: 40, address: DOORBELL, data: VECTOR }])
    guest.vm.addIrqfd(event.fd, 40)
    event.signal()
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: VECTOR })
    guest.vm.setGsiRouting([{ gsi: 40, address: DOORBELL, data: OTHER_VECTOR }])
    event.signal()
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: OTHER_VECTOR })
    expect([count(guest, VECTOR), count(guest, OTHER_VECTOR)]).toEqual([1, 1])
  })

  it('follows a route to another pin', () => {
    using guest = halted(code => redirect(code, 3, VECTOR, Redirection.edge))
    using event = EventFd.create()
    guest.vm.setGsiRouting([{ gsi: 50, irqchip: KVM_IRQCHIP_IOAPIC, pin: 3 }])
    guest.vm.addIrqfd(event.fd, 50)
    event.signal()
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: VECTOR })
  })

  it('says when the guest has acknowledged a level-triggered interrupt', () => {
    using guest = halted(code => redirect(code, PIN, VECTOR, Redirection.level))
    using event = EventFd.create()
    using resample = EventFd.create()
    guest.vm.addIrqfd(event.fd, PIN, resample.fd)
    event.signal()
    expect(resample.take()).toBe(0)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: VECTOR })
    expect(resample.take()).toBe(1)
  })

  it('interrupts no more once it is removed', () => {
    using guest = halted(code => redirect(code, PIN, VECTOR, Redirection.edge))
    using event = EventFd.create()
    guest.vm.addIrqfd(event.fd, PIN)
    guest.vm.removeIrqfd(event.fd, PIN)
    event.signal()
    guest.vm.signalMsi(DOORBELL, OTHER_VECTOR)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: OTHER_VECTOR })
    expect([count(guest, VECTOR), event.take()]).toEqual([0, 1])
  })
})

describeUnless(missingKvm(), 'setIrqLine', () => {
  it('interrupts again and again while a level-triggered line is high', () => {
    using guest = halted(code => redirect(code, PIN, VECTOR, Redirection.level))
    guest.vm.setIrqLine(PIN, true)
    expect([nextSign(guest), nextSign(guest), nextSign(guest)].map(({ value }) => value)).toEqual([
      VECTOR,
      VECTOR,
      VECTOR,
    ])
    guest.vm.setIrqLine(PIN, false)
    guest.vm.signalMsi(DOORBELL, OTHER_VECTOR)
    const values = [nextSign(guest), nextSign(guest)].map(({ value }) => value)
    expect(values).toContain(OTHER_VECTOR)
  })

  it('reaches the guest through the 8259 and LINT0, as before any APIC is set up', () => {
    using guest = interruptGuest([PIC_VECTOR + COM1_IRQ], watchdog, initializePic, code => code.eax(0x20).out8(0x20))
    expect(nextSign(guest)).toMatchObject({ port: READY })
    guest.vm.setIrqLine(COM1_IRQ, true)
    expect(nextSign(guest)).toEqual({ port: TAKEN, value: PIC_VECTOR + COM1_IRQ })
  })
})

/** The master 8259: ICW1 to ICW4 with its vectors from PIC_VECTOR, all but IRQ 4 masked. */
function initializePic(code: Assembler): Assembler {
  const writes = [
    [0x20, 0x11],
    [0x21, PIC_VECTOR],
    [0x21, 0x04],
    [0x21, 0x01],
    [0x21, 0xff & ~(1 << COM1_IRQ)],
  ] as const
  for (const [port, value] of writes) code.eax(value).out8(port)
  return code
}

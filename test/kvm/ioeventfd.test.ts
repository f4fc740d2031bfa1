import { afterAll, beforeAll, expect, it } from 'vitest'
import { EventFd } from '../../src/host/eventfd.ts'
import type { IoEvent } from '../../src/kvm/vm.ts'
import { BareGuest, DEVICE } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { Watchdog } from '../support/watchdog.ts'

const PORT = 0x510
const WRITES = 50

let watchdog: Watchdog
beforeAll(() => {
  watchdog = new Watchdog()
})
afterAll(() => watchdog[Symbol.asyncDispose]())

/** A guest that writes 7, then 8, WRITES times each, with `write`. */
function writer(write: (code: Assembler) => Assembler): BareGuest {
  const code = new Assembler().ecx(WRITES)
  const start = code.here
  write(code.eax(7))
  write(code.eax(8)).loop(start)
  return new BareGuest(code.exit(0).code(), watchdog)
}
const toPort = (code: Assembler) => code.out32(PORT)
const toMemory = (code: Assembler) => code.store(DEVICE)

const PLACES = [
  { name: 'a port', write: toPort, at: { address: PORT, port: true } },
  { name: 'an MMIO address', write: toMemory, at: { address: DEVICE } },
]

describeUnless(missingKvm(), 'an ioeventfd', () => {
  it.each(PLACES)('counts the writes to $name, none of which leaves the guest', ({ write, at }) => {
    using guest = writer(write)
    using event = EventFd.create()
    guest.vm.addIoEvent({ fd: event.fd, size: 4, ...at })
    expect(guest.run()).toEqual([])
    expect(event.take()).toBe(2 * WRITES)
  })

  it.each(PLACES)('counts only the value that it matches at $name', ({ write, at }) => {
    using guest = writer(write)
    using event = EventFd.create()
    guest.vm.addIoEvent({ fd: event.fd, size: 4, match: 8, ...at })
    const accesses = guest.run()
    expect(event.take()).toBe(WRITES)
    expect(accesses).toHaveLength(WRITES)
    expect(new Set(accesses.map(access => access.hex))).toEqual(new Set(['07000000']))
  })

  it.each(PLACES)('tells two values at $name apart', ({ write, at }) => {
    using guest = writer(write)
    using sevens = EventFd.create()
    using eights = EventFd.create()
    guest.vm.addIoEvent({ fd: sevens.fd, size: 4, match: 7, ...at })
    guest.vm.addIoEvent({ fd: eights.fd, size: 4, match: 8, ...at })
    expect(guest.run()).toEqual([])
    expect([sevens.take(), eights.take()]).toEqual([WRITES, WRITES])
  })

  it.each(PLACES)('lets a write of another size at $name out', ({ write, at }) => {
    using guest = writer(write)
    using event = EventFd.create()
    guest.vm.addIoEvent({ fd: event.fd, size: 2, ...at })
    expect(guest.run()).toHaveLength(2 * WRITES)
    expect(event.take()).toBe(0)
  })

  it.each(PLACES)('takes any size at $name when it has none of its own', ({ write, at }) => {
    using guest = writer(write)
    using event = EventFd.create()
    guest.vm.addIoEvent({ fd: event.fd, size: 0, ...at })
    expect(guest.run()).toEqual([])
    expect(event.take()).toBe(2 * WRITES)
  })

  it.each(PLACES)('is gone from $name once it is removed', ({ write, at }) => {
    using guest = writer(write)
    using event = EventFd.create()
    const ioEvent: IoEvent = { fd: event.fd, size: 4, match: 7, ...at }
    guest.vm.addIoEvent(ioEvent)
    guest.vm.removeIoEvent(ioEvent)
    expect(guest.run()).toHaveLength(2 * WRITES)
    expect(event.take()).toBe(0)
  })

  it('leaves reads of its address alone', () => {
    using guest = new BareGuest(new Assembler().in32(PORT).load(DEVICE).exit(0).code(), watchdog)
    using event = EventFd.create()
    guest.vm.addIoEvent({ fd: event.fd, size: 4, address: PORT, port: true })
    guest.vm.addIoEvent({ fd: event.fd, size: 4, address: DEVICE })
    expect(guest.run().map(({ at, write }) => [at, write])).toEqual([
      [PORT, false],
      [DEVICE, false],
    ])
    expect(event.take()).toBe(0)
  })
})

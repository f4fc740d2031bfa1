import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pciLineGsi } from '../../src/arch/devices.ts'
import { EventLoop } from '../../src/host/event-loop.ts'
import { EventFd } from '../../src/host/eventfd.ts'
import { KvmPciHost } from '../../src/machine/interrupts.ts'
import { BareGuest, DEVICE } from '../support/bare-guest.ts'
import { COUNTS, interruptGuest, nextSign, READY, Redirection, redirect, TAKEN } from '../support/interrupt-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { Watchdog } from '../support/watchdog.ts'

const MESSAGE = { address: 0xfee0_0000, data: 0x41 }
const OTHER_MESSAGE = { address: 0xfee0_0000, data: 0x52 }

let watchdog: Watchdog
beforeAll(() => {
  watchdog = new Watchdog()
})
afterAll(() => watchdog[Symbol.asyncDispose]())

/** A guest that halts and takes two vectors, with PCI's way to it. */
function halted(prepare?: (code: Assembler) => Assembler) {
  const opened = new DisposableStack()
  const guest = opened.use(interruptGuest([MESSAGE.data, OTHER_MESSAGE.data], watchdog, prepare))
  expect(nextSign(guest)).toMatchObject({ port: READY })
  const loop = opened.use(new EventLoop())
  const host = new KvmPciHost(guest.vm, loop)
  return { guest, loop, host, [Symbol.dispose]: () => opened.dispose() }
}
const taken = (value: number) => ({ port: TAKEN, value })

describeUnless(missingKvm(), 'a vector', () => {
  it('interrupts with its message, and with another once that is set', () => {
    using fixture = halted()
    const vector = fixture.host.createVector()
    vector.connect(MESSAGE)
    vector.trigger()
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    vector.connect(OTHER_MESSAGE)
    vector.trigger()
    expect(nextSign(fixture.guest)).toEqual(taken(OTHER_MESSAGE.data))
    vector.close()
  })

  it('keeps an interrupt while it is not connected, and delivers it then', () => {
    using fixture = halted()
    const vector = fixture.host.createVector()
    const before = vector.pending
    vector.trigger()
    vector.trigger()
    expect([before, vector.pending, vector.pending]).toEqual([false, true, true])
    vector.connect(MESSAGE)
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    expect(vector.pending).toBe(false)
    vector.close()
  })

  it('keeps an interrupt that comes after it was disconnected', () => {
    using fixture = halted()
    const vector = fixture.host.createVector()
    vector.connect(MESSAGE)
    vector.connect(undefined)
    vector.trigger()
    fixture.guest.vm.signalMsi(OTHER_MESSAGE.address, OTHER_MESSAGE.data)
    expect(nextSign(fixture.guest)).toEqual(taken(OTHER_MESSAGE.data))
    expect([vector.pending, fixture.guest.word(COUNTS + 4 * MESSAGE.data)]).toEqual([true, 0])
    vector.close()
  })

  it('forgets what is pending when it is cleared', () => {
    using fixture = halted()
    const vector = fixture.host.createVector()
    vector.trigger()
    vector.clear()
    expect(vector.pending).toBe(false)
    vector.close()
  })

  it('leaves the routes of the others alone', () => {
    using fixture = halted()
    const [first, second] = [fixture.host.createVector(), fixture.host.createVector()]
    first.connect(MESSAGE)
    second.connect(OTHER_MESSAGE)
    first.trigger()
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    second.close()
    const third = fixture.host.createVector()
    third.connect(OTHER_MESSAGE)
    third.trigger()
    expect(nextSign(fixture.guest)).toEqual(taken(OTHER_MESSAGE.data))
    for (const vector of [first, third]) vector.close()
  })
})

describeUnless(missingKvm(), 'a line', () => {
  const DEVICE_NUMBER = 2
  const pin = pciLineGsi(DEVICE_NUMBER, 1)
  const level = (code: Assembler) => redirect(code, pin, MESSAGE.data, Redirection.level)

  it('interrupts again for as long as the device holds it high', () => {
    using fixture = halted(level)
    const line = fixture.host.line(DEVICE_NUMBER, 1)
    line.set(true)
    const values = [1, 2, 3].map(() => {
      const { value } = nextSign(fixture.guest)
      fixture.loop.wait(0)
      return value
    })
    expect(values).toEqual([MESSAGE.data, MESSAGE.data, MESSAGE.data])
    line.set(false)
    // One was raised before the level fell.
    nextSign(fixture.guest)
    fixture.loop.wait(0)
    fixture.guest.vm.signalMsi(OTHER_MESSAGE.address, OTHER_MESSAGE.data)
    expect(nextSign(fixture.guest)).toEqual(taken(OTHER_MESSAGE.data))
    expect(fixture.guest.word(COUNTS + 4 * MESSAGE.data)).toBe(4)
  })

  it('gives its descriptors back', () => {
    using fixture = halted(level)
    const descriptors = () => readdirSync('/proc/self/fd').length
    const before = descriptors()
    fixture.host.line(DEVICE_NUMBER, 1)
    expect(descriptors()).toBe(before + 2)
    fixture.host[Symbol.dispose]()
    expect(descriptors()).toBe(before)
  })

  it('is high while one of its devices wants it', () => {
    using fixture = halted(level)
    // Device 6 comes out at the same pin as device 2.
    const [one, other] = [fixture.host.line(DEVICE_NUMBER, 1), fixture.host.line(DEVICE_NUMBER + 4, 1)]
    one.set(true)
    other.set(true)
    one.set(false)
    const values = [1, 2].map(() => {
      const { value } = nextSign(fixture.guest)
      fixture.loop.wait(0)
      return value
    })
    expect(values).toEqual([MESSAGE.data, MESSAGE.data])
  })
})

describeUnless(missingKvm(), 'a line for a source outside', () => {
  const DEVICE_NUMBER = 2
  const level = (code: Assembler) => redirect(code, pciLineGsi(DEVICE_NUMBER, 1), MESSAGE.data, Redirection.level)

  it('interrupts once for each signal, and tells of the end of interrupt', () => {
    using fixture = halted(level)
    const outside = fixture.host.createLevelInterrupt(DEVICE_NUMBER, 1)
    const [trigger, resample] = [new EventFd(outside.fd), new EventFd(outside.resampleFd)]
    expect(resample.take()).toBe(0)
    trigger.signal()
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    expect(resample.take()).toBe(1)
    fixture.guest.vm.signalMsi(OTHER_MESSAGE.address, OTHER_MESSAGE.data)
    expect(nextSign(fixture.guest)).toEqual(taken(OTHER_MESSAGE.data))
    trigger.signal()
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    outside.close()
  })

  it('shares the line with an emulated device', () => {
    using fixture = halted(level)
    const line = fixture.host.line(DEVICE_NUMBER + 4, 1)
    const outside = fixture.host.createLevelInterrupt(DEVICE_NUMBER, 1)
    const resample = new EventFd(outside.resampleFd)
    line.set(true)
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    expect(resample.take()).toBe(1)
    line.set(false)
    new EventFd(outside.fd).signal()
    expect(nextSign(fixture.guest)).toEqual(taken(MESSAGE.data))
    expect(resample.take()).toBe(1)
    outside.close()
  })

  it('gives its descriptors back', () => {
    using fixture = halted(level)
    const descriptors = () => readdirSync('/proc/self/fd').length
    const before = descriptors()
    const outside = fixture.host.createLevelInterrupt(DEVICE_NUMBER, 1)
    expect(descriptors()).toBe(before + 2)
    outside.close()
    expect(descriptors()).toBe(before)
  })
})

describeUnless(missingKvm(), 'a doorbell', () => {
  /** Writes one, two and four bytes to the first place, then four to the second. */
  function writer(): BareGuest {
    const code = new Assembler()
      .eax(1)
      // mov [DEVICE], al; mov [DEVICE], ax
      .raw(0xa2, ...address(DEVICE))
      .raw(0x66, 0xa3, ...address(DEVICE))
      .store(DEVICE)
      .store(DEVICE + 0x1000)
    return new BareGuest(code.exit(0).code(), watchdog)
  }

  it('rings for writes of any width, at the place where it is and nowhere else', () => {
    using guest = writer()
    using loop = new EventLoop()
    let rings = 0
    const doorbell = new KvmPciHost(guest.vm, loop).createDoorbell(() => {
      rings++
    })
    doorbell.place(DEVICE + 0x1000)
    doorbell.place(DEVICE)
    expect(guest.run().map(({ at }) => at)).toEqual([DEVICE + 0x1000])
    loop.wait(0)
    expect(rings).toBe(1)
    doorbell.close()
  })

  it('lets writes through where another one is already, and has the place when that is gone', () => {
    using guest = writer()
    using loop = new EventLoop()
    const warnings: string[] = []
    const host = new KvmPciHost(guest.vm, loop, message => warnings.push(message))
    let rings = 0
    const [first, second] = [host.createDoorbell(() => {}), host.createDoorbell(() => void rings++)]
    first.place(DEVICE)
    second.place(DEVICE)
    expect(warnings).toEqual(["a queue's notifications are slow: KVM_IOEVENTFD failed: EEXIST (errno 17)"])
    first.close()
    second.place(DEVICE)
    expect(guest.run().map(({ at }) => at)).toEqual([DEVICE + 0x1000])
    loop.wait(0)
    expect(rings).toBe(1)
    second.close()
  })

  it('lets writes through once it is nowhere', () => {
    using guest = writer()
    using loop = new EventLoop()
    const doorbell = new KvmPciHost(guest.vm, loop).createDoorbell(() => {})
    doorbell.place(DEVICE)
    doorbell.place(undefined)
    expect(guest.run()).toHaveLength(4)
    doorbell.close()
  })
})

function address(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}

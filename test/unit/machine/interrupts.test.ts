import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { SysError } from '../../../src/base/errors.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { Vm } from '../../../src/kvm/vm.ts'
import { KvmPciHost } from '../../../src/machine/interrupts.ts'

const MESSAGE = { address: 0xfee0_0000, data: 0x41 }
const PAGE = 4096

/** PCI on a KVM that refuses everything: its descriptor is none. */
function refused() {
  const loop = new EventLoop()
  const warnings: string[] = []
  const host = new KvmPciHost(new Vm(-1, PAGE), loop, message => warnings.push(message))
  return { loop, warnings, host, [Symbol.dispose]: () => loop[Symbol.dispose]() }
}

const descriptors = () => readdirSync('/proc/self/fd').length

describe('KvmPciHost', () => {
  it('does without a doorbell that KVM refuses, and says so once', () => {
    using fixture = refused()
    const doorbells = [1, 2].map(() => fixture.host.createDoorbell(() => {}))
    for (const doorbell of doorbells) doorbell.place(0xc000_3000)
    for (const doorbell of doorbells) doorbell.close()
    expect(fixture.warnings).toEqual(["a queue's notifications are slow: KVM_IOEVENTFD failed: EBADF (errno 9)"])
  })

  it('does without a doorbell that cannot be made, and leaves no descriptor behind', () => {
    using fixture = refused()
    // As when the user watches too much already (epoll(7): max_user_watches).
    fixture.loop.watch = () => {
      throw new SysError('epoll_ctl(ADD)', 28, 'ENOSPC')
    }
    const before = descriptors()
    const doorbell = fixture.host.createDoorbell(() => {})
    doorbell.place(0xc000_3000)
    doorbell.close()
    expect(fixture.warnings).toEqual(["a queue's notifications are slow: epoll_ctl(ADD) failed: ENOSPC (errno 28)"])
    expect(descriptors()).toBe(before)
  })

  it('keeps an interrupt whose message KVM refuses', () => {
    using fixture = refused()
    const vector = fixture.host.createVector()
    vector.connect(MESSAGE)
    vector.trigger()
    expect(fixture.warnings).toEqual([
      'an interrupt of the guest is not sent: KVM_SET_GSI_ROUTING failed: EBADF (errno 9)',
    ])
    expect(vector.pending).toBe(true)
    vector.close()
  })

  it('leaves no descriptor behind where KVM refuses a line for a source outside', () => {
    using fixture = refused()
    const before = descriptors()
    expect(() => fixture.host.createLevelInterrupt(2, 1)).toThrow(/KVM_IRQFD failed: EBADF/)
    expect(descriptors()).toBe(before)
  })
})

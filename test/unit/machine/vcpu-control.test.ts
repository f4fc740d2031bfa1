import { describe, expect, it } from 'vitest'
import { DEVICE_CONTROL_BYTES, DeviceControl, DeviceRequest } from '../../../src/machine/device-control.ts'
import { controlBytes, EXIT_COUNTERS, VcpuControl, VcpuState, Wish } from '../../../src/machine/vcpu-control.ts'

describe('VcpuControl', () => {
  it('keeps the words of each vCPU apart', () => {
    const shared = new SharedArrayBuffer(controlBytes(3))
    const vcpus = [0, 1, 2].map(index => new VcpuControl(shared, index))
    vcpus[1]!.wish = Wish.stop
    vcpus[1]!.state = VcpuState.paused
    vcpus[1]!.threadId = 77
    vcpus[1]!.count(EXIT_COUNTERS.indexOf('mmio'))
    expect(vcpus.map(({ wish, state, threadId }) => ({ wish, state, threadId }))).toEqual([
      { wish: Wish.run, state: VcpuState.starting, threadId: 0 },
      { wish: Wish.stop, state: VcpuState.paused, threadId: 77 },
      { wish: Wish.run, state: VcpuState.starting, threadId: 0 },
    ])
    expect(vcpus.map(vcpu => vcpu.exits().mmio)).toEqual([0, 1, 0])
  })

  it('shows both sides the same words', () => {
    const shared = new SharedArrayBuffer(controlBytes(1))
    new VcpuControl(shared, 0).count(0)
    expect(new VcpuControl(shared, 0).exits()).toEqual({
      io: 1,
      mmio: 0,
      forwarded: 0,
      posted: 0,
      interrupted: 0,
      other: 0,
    })
  })

  it('does not wait for a pause that is not wanted', () => {
    const control = new VcpuControl(new SharedArrayBuffer(controlBytes(1)), 0)
    control.wish = Wish.stop
    expect(() => control.waitWhilePaused()).not.toThrow()
  })
})

describe('DeviceControl', () => {
  it('collects requests until they are taken', () => {
    const control = new DeviceControl(new SharedArrayBuffer(DEVICE_CONTROL_BYTES))
    expect(control.pending).toBe(false)
    control.request(DeviceRequest.input)
    control.request(DeviceRequest.stop)
    expect(control.pending).toBe(true)
    expect(control.take()).toBe(DeviceRequest.input | DeviceRequest.stop)
    expect(control.take()).toBe(0)
    expect(control.pending).toBe(false)
  })
})

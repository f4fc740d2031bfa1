import { fstatSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../../src/base/errors.ts'
import { EventLoop } from '../../../../src/host/event-loop.ts'
import { openBalloon } from '../../../../src/machine/device/balloon.ts'
import { createBalloon } from '../../../../src/machine/device/balloon-device.ts'
import type { DeviceEnvironment } from '../../../../src/machine/device/environment.ts'
import { deviceHarness } from '../../../support/device-harness.ts'
import { HIGH_START } from '../../../support/virtio-memory.ts'

describe('openBalloon', () => {
  it('is empty and yields on out of memory unless told otherwise', () => {
    expect(openBalloon({ kind: 'balloon' }, 128).plan).toEqual({ targetMiB: 0, deflateOnOom: true })
    expect(openBalloon({ kind: 'balloon', targetMiB: 128, deflateOnOom: false }, 128).plan).toEqual({
      targetMiB: 128,
      deflateOnOom: false,
    })
  })

  it.each([-1, 129, 0.5, Number.NaN])('refuses a target of %d MiB in 128', targetMiB => {
    expect(() => openBalloon({ kind: 'balloon', targetMiB }, 128)).toThrow(BadInput)
  })
})

describe('createBalloon', () => {
  it('makes a device that gives pages of guest RAM back to the host', () => {
    using loop = new EventLoop()
    // The device needs RAM before the harness makes it, so the harness's own is looked up late.
    const ram = { fd: -1, blocks: [] as { start: number; size: number; hostAddress: number }[] }
    const warnings: string[] = []
    const environment = { loop, ram, warn: (line: string) => warnings.push(line) } as unknown as DeviceEnvironment
    const { plan } = openBalloon({ kind: 'balloon', targetMiB: 2 }, 128)
    using probe = deviceHarness(createBalloon(plan, environment), { real: true })
    const real = probe.memory.ram!
    const device = createBalloon(plan, { ...environment, ram: real })
    using harness = deviceHarness(device, { memory: probe.memory })
    expect(device.targetMiB).toBe(2)
    harness.memory.memory.write(HIGH_START, new Uint8Array(2 ** 20).fill(0xaa))
    const before = fstatSync(real.fd).blocks
    const pfns = Uint32Array.from({ length: 256 }, (_, i) => HIGH_START / 4096 + 255 - i)
    harness.request(0, { out: [new Uint8Array(pfns.buffer)] })
    expect(before - fstatSync(real.fd).blocks).toBe(2 ** 20 / 512)
    expect(harness.memory.memory.read(HIGH_START + 5000, 1)).toEqual(Uint8Array.of(0))
    expect(warnings).toEqual([])
  })
})

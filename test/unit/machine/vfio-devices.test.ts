import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostError, SysError } from '../../../src/base/errors.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import type { MachineEnvironment } from '../../../src/machine/device/environment.ts'
import { type PassedDevice, VfioDevices } from '../../../src/machine/vfio-devices.ts'
import { Ram } from '../../../src/memory/ram.ts'

let opened: DisposableStack
beforeEach(() => {
  opened = new DisposableStack()
})
afterEach(() => opened.dispose())

/** What the device thread has, and what it is told. */
function surroundings() {
  const ram = opened.use(Ram.create([{ start: 0, size: 0x1000 }]))
  const lines: string[] = []
  const environment = {
    loop: opened.use(new EventLoop()),
    ram,
    warn: (line: string) => lines.push(`warning: ${line}`),
    debug: (line: string) => lines.push(line),
  } as unknown as MachineEnvironment
  return { environment, lines }
}
const info = { pageSizes: 0x1000, usable: [{ start: 0, end: 2 ** 39 - 1 }], limit: 10 }
/** A device whose descriptors are none: each call to the host fails. */
const device = (index: number, group: number, isBehind = true): PassedDevice => ({
  index,
  name: `vfio${index}`,
  plan: {
    address: `0000:00:1${index}.0`,
    group,
    containerFd: -1,
    groupFd: -1,
    deviceFd: -1,
    info,
    rom: 'none',
  },
  isBehind,
})

describe('VfioDevices', () => {
  it('has one back end for each group', () => {
    const { environment } = surroundings()
    using devices = new VfioDevices([device(1, 7), device(2, 8), device(4, 7)], environment)
    expect(devices.backendOf(1)?.name).toBe('group 7')
    expect(devices.backendOf(4)).toBe(devices.backendOf(1))
    expect(devices.backendOf(2)?.name).toBe('group 8')
  })

  it('maps nothing for devices behind an IOMMU, which will say what', () => {
    const { environment } = surroundings()
    using devices = new VfioDevices([device(1, 7)], environment)
    expect(devices.backendOf(1)?.state()).toMatchObject({ treatment: 'block', mapCalls: 0 })
  })

  it('says what the host answers when it cannot map all of memory', () => {
    const { environment } = surroundings()
    const make = () => new VfioDevices([device(1, 7), device(2, 8, false)], environment)
    expect(make).toThrow(HostError)
    expect(make).toThrow(/^the host cannot map all of the guest's memory for vfio2: .*EBADF/)
  })

  it('goes on where the faults of the host cannot be seen', () => {
    const { environment, lines } = surroundings()
    const watch = () => {
      throw new SysError('epoll_ctl', 28, 'ENOSPC')
    }
    using devices = new VfioDevices([device(1, 7)], { ...environment, loop: { watch } as unknown as EventLoop })
    expect(() => devices.reportFaults(() => true)).not.toThrow()
    expect(lines).toEqual([expect.stringMatching(/^the host's IOMMU faults are not seen: /)])
  })
})

import { describe, expect, it } from 'vitest'
import { SysError } from '../../../src/base/errors.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { createMemfd } from '../../../src/host/mapping.ts'
import { OpenedDevice } from '../../../src/vfio/opened-device.ts'
import type { VfioPlan } from '../../../src/vfio/plan.ts'

describe('OpenedDevice', () => {
  it('names the call that something other than a device refuses', () => {
    const fd = createMemfd('test', 4096)
    const info = { pageSizes: 4096, usable: [], limit: undefined }
    const plan: VfioPlan = {
      ...{ address: '0000:00:10.0', group: 7, containerFd: -1, groupFd: -1, deviceFd: fd },
      ...{ info, rom: 'none' },
    }
    expect(() => new OpenedDevice(plan, () => [])).toThrow(SysError)
    expect(() => new OpenedDevice(plan, () => [])).toThrow('VFIO_DEVICE_GET_INFO failed: ENOTTY')
    closeFd(fd)
  })
})

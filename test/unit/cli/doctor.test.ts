import { describe, expect, it } from 'vitest'
import { report } from '../../../src/cli/doctor.ts'
import type { DeviceStatus } from '../../../src/cli/vfio-status.ts'

const device = (address: string, group: number | undefined): DeviceStatus => ({
  address,
  ...(group === undefined ? {} : { group }),
  vendor: '8086',
  device: '0001',
  class: '020000',
  kind: 'Ethernet',
  groupMates: [],
  isBound: false,
  uses: [],
})

describe('report', () => {
  it('is a line for each finding', () => {
    const findings = [
      { name: 'KVM', state: 'ok', text: 'runs Linux guests' },
      { name: 'IOMMU', state: 'missing', text: 'off' },
    ] as const
    expect(report(findings, [device('0000:00:10.0', undefined)])).toBe(
      'STATE    WHAT   FOUND\nok       KVM    runs Linux guests\nmissing  IOMMU  off\n',
    )
  })

  it('ends with the devices by group', () => {
    const devices = [device('0000:00:10.0', 12), device('0000:00:11.0', 2), device('0000:00:12.0', undefined)]
    expect(report([], devices).match(/0000:\S+/g)).toEqual(['0000:00:11.0', '0000:00:10.0'])
  })
})

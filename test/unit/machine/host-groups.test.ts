import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hostGroups } from '../../../src/machine/host-groups.ts'

let sysfs: string
beforeAll(() => {
  sysfs = mkdtempSync(join(tmpdir(), 'bh-groups-'))
  const device = join(sysfs, 'bus/pci/devices/0000:00:10.0')
  mkdirSync(device, { recursive: true })
  mkdirSync(join(sysfs, 'kernel/iommu_groups/12'), { recursive: true })
  symlinkSync('../../../../kernel/iommu_groups/12', join(device, 'iommu_group'))
  for (const name of ['vendor', 'device', 'class']) writeFileSync(join(device, name), '0x1234\n')
})
afterAll(() => rmSync(sysfs, { recursive: true }))

describe('hostGroups', () => {
  it('has the group of what is passed through, and nothing for the others', () => {
    const devices = [
      { kind: 'rng' },
      { kind: 'vfio', address: '0000:00:10.0' },
      { kind: 'vfio', address: '0000:00:11.0' },
      { kind: 'vfio', address: '0000:00:10.0', hostGroup: 3 },
    ] as const
    expect(hostGroups(devices, sysfs)).toEqual([undefined, 12, undefined, 3])
  })
})

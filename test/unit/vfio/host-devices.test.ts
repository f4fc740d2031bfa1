import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import {
  blocksGroup,
  groupDevices,
  iommuGroups,
  isVfioBound,
  normalizeAddress,
  pciDevice,
  pciDevices,
} from '../../../src/vfio/host-devices.ts'
import { HostTree } from '../../support/host-tree.ts'

describe('normalizeAddress', () => {
  it.each([
    ['00:10.0', '0000:00:10.0'],
    ['0000:00:10.0', '0000:00:10.0'],
    ['AF:1F.7', '0000:af:1f.7'],
    ['10000:e1:00.0', '10000:e1:00.0'],
    ['00010000:e1:00.0', '10000:e1:00.0'],
    ['00000001:e1:00.0', '0001:e1:00.0'],
  ])('writes %s as sysfs does', (text, address) => {
    expect(normalizeAddress(text)).toBe(address)
  })

  it.each(['', '10.0', '00:10', '00:20.0', '00:10.8', '00:10.0 ', '000:00:10.0', '00:10.0/..', '0g:10.0', '00:10.00'])(
    'refuses "%s"',
    text => {
      expect(() => normalizeAddress(text)).toThrow(BadInput)
    },
  )
})

describe('pciDevice', () => {
  it('reads what there is of a device', () => {
    using host = new HostTree()
    host.device('0000:00:11.0', { vendor: '0x1b36', device: '0x0010', class: '0x010802', driver: 'nvme', group: 13 })
    expect(pciDevice('00:11.0', host.sysfs)).toEqual({
      address: '0000:00:11.0',
      vendor: 0x1b36,
      device: 0x0010,
      class: 0x010802,
      driver: 'nvme',
      group: 13,
      isBridge: false,
      driverOverride: undefined,
    })
  })

  it('leaves open what a device does not have', () => {
    using host = new HostTree()
    host.device('0000:00:10.0')
    expect(pciDevice('00:10.0', host.sysfs)).toMatchObject({ driver: undefined, group: undefined })
  })

  it('tells a bridge and a driver override', () => {
    using host = new HostTree()
    host.device('0000:00:1c.0', { class: '0x060400', override: 'vfio-pci' })
    expect(pciDevice('00:1c.0', host.sysfs)).toMatchObject({ isBridge: true, driverOverride: 'vfio-pci' })
  })

  it('refuses an address where nothing is', () => {
    using host = new HostTree()
    host.device('0000:00:10.0')
    expect(() => pciDevice('00:11.0', host.sysfs)).toThrow(
      new BadInput('this host has no PCI device 0000:00:11.0: bulkhead vfio status shows what it has'),
    )
  })
})

describe('pciDevices', () => {
  it('lists them by address', () => {
    using host = new HostTree()
    host.device('0000:01:00.0')
    host.device('0000:00:10.0')
    expect(pciDevices(host.sysfs).map(({ address }) => address)).toEqual(['0000:00:10.0', '0000:01:00.0'])
  })

  it('leaves out a device that goes away meanwhile', () => {
    using host = new HostTree()
    host.device('0000:00:10.0')
    host.link('sys/bus/pci/devices/0000:00:11.0', '/nowhere')
    expect(pciDevices(host.sysfs).map(({ address }) => address)).toEqual(['0000:00:10.0'])
  })

  it('finds none where there is no PCI', () => {
    using host = new HostTree()
    expect(pciDevices(host.sysfs)).toEqual([])
  })
})

describe('groupDevices', () => {
  it('gives the devices of one group', () => {
    using host = new HostTree()
    host.device('0000:00:1f.3', { group: 15 })
    host.device('0000:00:1f.0', { group: 15 })
    host.device('0000:00:10.0', { group: 12 })
    expect(groupDevices(15, host.sysfs).map(({ address }) => address)).toEqual(['0000:00:1f.0', '0000:00:1f.3'])
  })

  it('leaves out devices of other buses', () => {
    using host = new HostTree()
    host.device('0000:00:10.0', { group: 1 })
    host.link('sys/kernel/iommu_groups/1/devices/30c20000.dma', 'sys/devices/platform/dma')
    expect(groupDevices(1, host.sysfs)).toHaveLength(1)
  })

  it('is empty for a group that is not there', () => {
    using host = new HostTree()
    expect(groupDevices(3, host.sysfs)).toEqual([])
  })
})

describe('iommuGroups', () => {
  it('counts them up by number', () => {
    using host = new HostTree()
    host.device('0000:00:10.0', { group: 12 })
    host.device('0000:00:11.0', { group: 2 })
    host.device('0000:00:12.0', { group: 1 })
    host.device('0000:00:13.0', { group: 100 })
    expect(iommuGroups(host.sysfs)).toEqual([1, 2, 12, 100])
  })
})

describe('isVfioBound', () => {
  it.each([
    ['vfio-pci', true],
    ['mlx5_vfio_pci', true],
    ['hisi-acc-vfio-pci', true],
    ['nvme', false],
    ['notvfio', false],
    [undefined, false],
  ])('with %s is %s', (driver, bound) => {
    using host = new HostTree()
    host.device('0000:00:10.0', driver === undefined ? {} : { driver })
    expect(isVfioBound(pciDevice('00:10.0', host.sysfs))).toBe(bound)
  })
})

describe('blocksGroup', () => {
  it.each([
    ['nvme', true],
    ['vfio-pci', false],
    ['pci-stub', false],
    ['pcieport', false],
    [undefined, false],
  ])('with %s is %s', (driver, blocks) => {
    using host = new HostTree()
    host.device('0000:00:10.0', driver === undefined ? {} : { driver })
    expect(blocksGroup(pciDevice('00:10.0', host.sysfs))).toBe(blocks)
  })
})

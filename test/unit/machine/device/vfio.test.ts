import { rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BadInput } from '../../../../src/base/errors.ts'
import type { DevicePlan } from '../../../../src/machine/device/kinds.ts'
import { bindDevices, checkVfio, VfioResources } from '../../../../src/machine/device/vfio.ts'
import type { VfioConfig } from '../../../../src/machine/device/vfio-config.ts'
import { planIommu } from '../../../../src/machine/iommu-plan.ts'
import type { VfioPlan } from '../../../../src/vfio/plan.ts'
import { HostTree } from '../../../support/host-tree.ts'

const ADDRESS = '0000:01:00.0'
const OTHER = '0000:01:00.1'
const MISSING = 'ffff:ff:1f.7'
const CONFIG: VfioConfig = { kind: 'vfio', address: ADDRESS }

let tree: HostTree
let rom: string
beforeEach(() => {
  tree = new HostTree()
  rom = join(tmpdir(), `bulkhead-rom-${process.pid}`)
  writeFileSync(rom, '')
})
afterEach(() => {
  tree[Symbol.dispose]()
  rmSync(rom)
})

describe('checkVfio', () => {
  it.each<[string, Partial<VfioConfig>]>([
    ['that is bound', {}],
    ['without its ROM', { rom: 'none' }],
  ])('lets a device pass %s', (_, change) => {
    tree.device(ADDRESS, { driver: 'vfio-pci', group: 7 })
    expect(() => checkVfio({ ...CONFIG, ...change }, [], tree.sysfs)).not.toThrow()
  })

  it('lets a device pass that is to be bound, or others of its group', () => {
    tree.device(ADDRESS, { driver: 'vfio-pci', group: 7 })
    tree.device(OTHER, { driver: 'xhci_hcd', group: 7 })
    const binding = { ...CONFIG, address: OTHER, bind: true }
    expect(() => checkVfio(binding, [CONFIG], tree.sysfs)).not.toThrow()
    expect(() => checkVfio(CONFIG, [binding], tree.sysfs)).not.toThrow()
  })

  it.each<[string, Parameters<HostTree['device']>[1], Partial<VfioConfig>, string]>([
    ['that is not there', { group: 7 }, { address: MISSING }, `this host has no PCI device ${MISSING}`],
    ['that another driver has', { driver: 'nvme', group: 7 }, {}, '(driver nvme has it): run "bulkhead vfio bind'],
    ['without a group', { driver: 'nvme' }, { bind: true }, 'is in no IOMMU group'],
    [
      'with a ROM that is not there',
      { driver: 'vfio-pci', group: 7 },
      { rom: { file: '/none' } },
      '--vfio 0000:01:00.0: cannot read the ROM /none (ENOENT)',
    ],
  ])('refuses a device %s', (_, device, change, message) => {
    tree.device(ADDRESS, device)
    const check = () => checkVfio({ ...CONFIG, ...change }, [], tree.sysfs)
    expect(check).toThrow(BadInput)
    expect(check).toThrow(message)
  })

  it.each([0, 2 ** 24 + 1])('refuses a ROM of %d bytes', size => {
    tree.device(ADDRESS, { driver: 'vfio-pci', group: 7 })
    truncateSync(rom, size)
    const check = () => checkVfio({ ...CONFIG, rom: { file: rom } }, [], tree.sysfs)
    expect(check).toThrow(`must have 1 byte to 16 MiB, not ${size}`)
  })
})

describe('bindDevices', () => {
  it('does nothing to devices that are not to be bound', async () => {
    using bound = await bindDevices([{ ...CONFIG, address: MISSING }])
    expect(bound).toBeDefined()
  })

  it('refuses what is not there', async () => {
    await expect(bindDevices([{ ...CONFIG, address: MISSING, bind: true }])).rejects.toThrow(BadInput)
  })
})

describe('VfioResources', () => {
  const info = { pageSizes: 0x1000, usable: [{ start: 0, end: 2 ** 39 - 1 }], limit: undefined }
  const plan: Omit<VfioPlan, 'address' | 'group'> = { containerFd: -1, groupFd: -1, deviceFd: -1, info, rom: 'none' }
  const passed = (address: string, group: number): DevicePlan => ({ kind: 'vfio', plan: { ...plan, address, group } })
  const machine = { cpus: 1, kernel: { image: new Uint8Array(0), name: 'none' } }
  const devices = [CONFIG, { ...CONFIG, address: OTHER }]
  const plans = [passed(ADDRESS, 7), passed(OTHER, 8)]

  it('refuses a device that is not there', () => {
    using resources = new VfioResources()
    expect(() => resources.open({ ...CONFIG, address: MISSING })).toThrow(BadInput)
  })

  it("fits the IOMMU to the host's", () => {
    using resources = new VfioResources()
    const iommu = { endpoints: 'all', bypass: false } as const
    const fitted = resources.fit(
      plans,
      { ...machine, memoryMiB: 1, devices, iommu },
      planIommu(iommu, { devices, rootPorts: false, pciBridge: false }),
    )
    expect(fitted?.options.input).toEqual({ start: 0, end: 2 ** 39 - 1 })
  })

  it('has no IOMMU to fit', () => {
    using resources = new VfioResources()
    expect(resources.fit([], { ...machine, memoryMiB: 1, devices: [] }, undefined)).toBeUndefined()
  })
})

import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BadInput, HostError } from '../../../src/base/errors.ts'
import { VfioGroups } from '../../../src/vfio/groups.ts'
import { HostTree, type TreeDevice } from '../../support/host-tree.ts'
import { descriptors } from '../../support/process-usage.ts'

const DISK = '0000:01:00.0'
const BOUND: TreeDevice = { group: 7, driver: 'vfio-pci' }

let tree: HostTree
beforeEach(() => {
  tree = new HostTree()
})
afterEach(() => tree[Symbol.dispose]())

/** A host with these devices, of which one is to be opened. */
function open(devices: Readonly<Record<string, TreeDevice>>, address: string): () => unknown {
  for (const [name, device] of Object.entries(devices)) tree.device(name, device)
  return () => {
    using groups = new VfioGroups({ sysfs: tree.sysfs, vfio: join(tree.dev, 'vfio') })
    return groups.open(address)
  }
}

describe('VfioGroups.open', () => {
  it.each([
    [
      'a device that the host does not have',
      {},
      'this host has no PCI device 0000:01:00.0: bulkhead vfio status shows',
    ],
    [
      'a device without a group',
      { [DISK]: { driver: 'vfio-pci' } },
      '0000:01:00.0 is in no IOMMU group: the host has no IOMMU for it, or it is off (intel_iommu=on turns Intel',
    ],
    [
      'a device that another driver has',
      { [DISK]: { ...BOUND, driver: 'nvme' } },
      '0000:01:00.0 is not bound to vfio-pci (driver nvme has it): run "bulkhead vfio bind 0000:01:00.0" first',
    ],
    [
      'a device that no driver has',
      { [DISK]: { group: 7 } },
      '0000:01:00.0 is not bound to vfio-pci (no driver has it): run "bulkhead vfio bind 0000:01:00.0" first',
    ],
    [
      'a group that other drivers have a part of',
      {
        [DISK]: BOUND,
        '0000:01:00.1': { group: 7, driver: 'snd_hda_intel' },
        '0000:01:00.2': { group: 7, driver: 'xhci_hcd' },
        '0000:00:01.0': { group: 7, driver: 'pcieport', class: '0x060400' },
        '0000:01:00.3': { group: 7 },
      },
      '0000:01:00.0 shares group 7 with 0000:01:00.1 (snd_hda_intel), 0000:01:00.2 (xhci_hcd): these need vfio-pci as ' +
        'well, run "bulkhead vfio bind 0000:01:00.1 0000:01:00.2" first',
    ],
  ])('refuses %s', (_, devices, message) => {
    const attempt = open(devices, '01:00.0')
    expect(attempt).toThrow(BadInput)
    expect(attempt).toThrow(message)
  })

  it('says which modules are missing where VFIO has no node', () => {
    const attempt = open({ [DISK]: BOUND }, DISK)
    expect(attempt).toThrow(HostError)
    expect(attempt).toThrow(/cannot open \S+\/vfio \(ENOENT\): load the modules vfio-pci and vfio_iommu_type1$/)
  })

  it('names the call that a node which is not of VFIO refuses, and closes it', () => {
    const attempt = open({ [DISK]: BOUND }, DISK)
    tree.file('dev/vfio/vfio', '')
    tree.file('dev/vfio/7', '')
    const before = descriptors()
    expect(attempt).toThrow('VFIO_GET_API_VERSION failed: ENOTTY')
    expect(descriptors()).toEqual(before)
  })
})

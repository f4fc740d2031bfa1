import { afterEach, describe, expect, it } from 'vitest'
import { BadInput, HostError } from '../../../src/base/errors.ts'
import { VfioGroups } from '../../../src/vfio/groups.ts'
import { HostTree } from '../../support/host-tree.ts'
import { descriptors } from '../../support/process-usage.ts'

const DISK = '0000:01:00.0'
const SOUND = '0000:01:00.1'
const BOUND = { address: DISK, group: 7, driver: 'vfio-pci' }

let tree: HostTree
afterEach(() => tree[Symbol.dispose]())

function open(address: string): () => unknown {
  return () => {
    using groups = new VfioGroups(tree.folders)
    return groups.open(address)
  }
}

describe('VfioGroups.open', () => {
  it.each([
    [
      'a device that the host does not have',
      [],
      'this host has no PCI device 0000:01:00.0: bulkhead vfio status shows',
    ],
    [
      'a device without a group',
      [{ address: DISK, driver: 'vfio-pci' }],
      '0000:01:00.0 is in no IOMMU group: the host has no IOMMU for it, or it is off (intel_iommu=on turns Intel',
    ],
    [
      'a device that another driver has',
      [{ ...BOUND, driver: 'nvme' }],
      '0000:01:00.0 is not bound to vfio-pci (driver nvme has it): run "bulkhead vfio bind 0000:01:00.0" first',
    ],
    [
      'a device that no driver has',
      [{ address: DISK, group: 7 }],
      '0000:01:00.0 is not bound to vfio-pci (no driver has it): run "bulkhead vfio bind 0000:01:00.0" first',
    ],
    [
      'a group that other drivers have a part of',
      [
        BOUND,
        { address: SOUND, group: 7, driver: 'snd_hda_intel' },
        { address: '0000:01:00.2', group: 7, driver: 'xhci_hcd' },
        { address: '0000:00:01.0', group: 7, driver: 'pcieport', class: 0x06_0400 },
        { address: '0000:01:00.3', group: 7 },
      ],
      '0000:01:00.0 shares group 7 with 0000:01:00.1 (snd_hda_intel), 0000:01:00.2 (xhci_hcd): these need vfio-pci as ' +
        'well, run "bulkhead vfio bind 0000:01:00.1 0000:01:00.2" first',
    ],
  ])('refuses %s', (_, devices, message) => {
    tree = new HostTree(devices)
    expect(open('01:00.0')).toThrow(BadInput)
    expect(open('01:00.0')).toThrow(message)
  })

  it('says which modules are missing where VFIO has no node', () => {
    tree = new HostTree([BOUND])
    expect(open(DISK)).toThrow(HostError)
    expect(open(DISK)).toThrow(/cannot open \S+\/vfio \(ENOENT\): load the modules vfio-pci and vfio_iommu_type1$/)
  })

  it('names the call that a node which is not of VFIO refuses, and closes it', () => {
    tree = new HostTree([BOUND])
    tree.addNode('vfio')
    tree.addNode('7')
    const before = descriptors()
    expect(open(DISK)).toThrow('VFIO_GET_API_VERSION failed: ENOTTY')
    expect(descriptors()).toEqual(before)
  })
})

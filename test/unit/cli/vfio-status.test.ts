import { describe, expect, it } from 'vitest'
import { deviceStatus, deviceTable } from '../../../src/cli/vfio-status.ts'
import { pciDevice, pciDevices } from '../../../src/vfio/host-devices.ts'
import { HostTree } from '../../support/host-tree.ts'

function host(): HostTree {
  const tree = new HostTree()
  tree.device('0000:00:11.0', { vendor: '0x1b36', device: '0x0010', class: '0x010802', driver: 'nvme', group: 13 })
  tree.device('0000:00:1f.0', { vendor: '0x8086', device: '0x2918', class: '0x060100', group: 15 })
  tree.device('0000:00:1f.2', { vendor: '0x8086', device: '0x2922', class: '0x010601', driver: 'vfio-pci', group: 15 })
  tree.device('0000:01:00.0')
  tree.file('proc/7/comm', 'bulkhead\n')
  tree.link('proc/7/fd/3', '/dev/vfio/15')
  return tree
}

const status = (tree: HostTree, address: string) => deviceStatus(pciDevice(address, tree.sysfs), tree.sysfs, tree.proc)

describe('deviceStatus', () => {
  it('says all of a device that a guest has', () => {
    using tree = host()
    expect(status(tree, '00:1f.2')).toEqual({
      address: '0000:00:1f.2',
      group: 15,
      driver: 'vfio-pci',
      vendor: '8086',
      device: '2922',
      class: '010601',
      kind: 'SATA storage',
      groupMates: ['0000:00:1f.0'],
      isBound: true,
      uses: ['process 7 (bulkhead) has it open'],
    })
  })

  it('leaves out what a device does not have', () => {
    using tree = host()
    expect(status(tree, '01:00.0')).toEqual({
      address: '0000:01:00.0',
      vendor: '1234',
      device: '11e8',
      class: '00ff00',
      kind: 'unclassified',
      groupMates: [],
      isBound: false,
      uses: [],
    })
  })
})

describe('deviceTable', () => {
  it('is aligned', () => {
    using tree = host()
    const states = pciDevices(tree.sysfs).map(device => deviceStatus(device, tree.sysfs, tree.proc))
    expect(deviceTable(states).split('\n')).toEqual([
      'ADDRESS       GROUP  DRIVER    ID         KIND          ALSO IN THE GROUP  IN USE',
      '0000:00:11.0  13     nvme      1b36:0010  NVMe storage  -                  -',
      '0000:00:1f.0  15     -         8086:2918  ISA bridge    0000:00:1f.2       process 7 (bulkhead) has it open',
      '0000:00:1f.2  15     vfio-pci  8086:2922  SATA storage  0000:00:1f.0       process 7 (bulkhead) has it open',
      '0000:01:00.0  -      -         1234:11e8  unclassified  -                  -',
      '',
    ])
  })
})

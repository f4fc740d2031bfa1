import { describe, expect, it } from 'vitest'
import { deviceUses } from '../../../src/vfio/device-use.ts'
import { pciDevice } from '../../../src/vfio/host-devices.ts'
import { HostTree } from '../../support/host-tree.ts'

const ADDRESS = '0000:00:11.0'
const FOLDER = `sys/devices/pci0000:00/${ADDRESS}`

function host(): HostTree {
  const tree = new HostTree()
  tree.device(ADDRESS, { driver: 'nvme', group: 13 })
  tree.device('0000:00:12.0', { driver: 'nvme', group: 14 })
  disk(tree, 'nvme0n1', '259:0', `${FOLDER}/nvme/nvme0/nvme0n1`)
  disk(tree, 'nvme0n1p2', '259:2', `${FOLDER}/nvme/nvme0/nvme0n1/nvme0n1p2`)
  disk(tree, 'nvme1n1', '259:9', 'sys/devices/pci0000:00/0000:00:12.0/nvme/nvme1/nvme1n1')
  return tree
}

function disk(tree: HostTree, name: string, numbers: string, folder: string): void {
  tree.file(`${folder}/dev`, `${numbers}\n`)
  tree.link(`sys/class/block/${name}`, folder)
}

const uses = (tree: HostTree) => deviceUses(pciDevice(ADDRESS, tree.sysfs), tree)

describe('deviceUses', () => {
  it('finds nothing of a device that does nothing', () => {
    using tree = host()
    expect(uses(tree)).toEqual([])
  })

  it('finds mounts of a disk and its partitions, once each, and of no other disk', () => {
    using tree = host()
    const lines = [
      '22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw',
      '23 22 259:2 /x /my\\040data rw - ext4 /dev/root rw',
      '24 22 259:2 / / rw - ext4 /dev/root rw',
      '25 22 259:9 / /other rw - ext4 /dev/nvme1n1 rw',
      '26 22 0:21 / /proc rw - proc proc rw',
    ]
    tree.file('proc/self/mountinfo', `${lines.join('\n')}\n`)
    expect(uses(tree)).toEqual(['nvme0n1p2 is mounted on /', 'nvme0n1p2 is mounted on /my data'])
  })

  it('finds a file system that has numbers of its own by its source', () => {
    using tree = host()
    tree.file('proc/self/mountinfo', '22 1 0:35 / /data rw - btrfs /dev/nvme0n1 rw\n')
    expect(uses(tree)).toEqual(['nvme0n1 is mounted on /data'])
  })

  it('finds what is mounted of a volume on the disk', () => {
    using tree = host()
    disk(tree, 'dm-0', '253:0', 'sys/devices/virtual/block/dm-0')
    disk(tree, 'dm-1', '253:1', 'sys/devices/virtual/block/dm-1')
    tree.link(`${FOLDER}/nvme/nvme0/nvme0n1/nvme0n1p2/holders/dm-0`, 'sys/devices/virtual/block/dm-0')
    tree.link('sys/devices/virtual/block/dm-0/holders/dm-1', 'sys/devices/virtual/block/dm-1')
    tree.file('proc/self/mountinfo', '22 1 253:1 / / rw - ext4 /dev/mapper/root rw\n')
    expect(uses(tree)).toEqual(['dm-1 is mounted on /'])
  })

  it('finds the disk of a controller with several ports', () => {
    using tree = new HostTree()
    tree.device(ADDRESS, { driver: 'nvme', group: 13 })
    disk(tree, 'nvme0c1n1', '259:0', `${FOLDER}/nvme/nvme1/nvme0c1n1`)
    disk(tree, 'nvme0n1', '259:1', 'sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1')
    disk(tree, 'nvme0n1p1', '259:2', 'sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p1')
    const lines = ['22 1 259:1 / / rw - ext4 /dev/nvme0n1 rw', '23 1 259:2 / /p rw - ext4 /dev/nvme0n1p1 rw']
    tree.file('proc/self/mountinfo', `${lines.join('\n')}\n`)
    expect(uses(tree)).toEqual(['nvme0n1 is mounted on /', 'nvme0n1p1 is mounted on /p'])
  })

  it('finds swap space', () => {
    using tree = host()
    tree.file('proc/swaps', 'Filename\tType\tSize\tUsed\tPriority\n/dev/nvme0n1p2 partition 1000 0 -2\n')
    expect(uses(tree)).toEqual(['nvme0n1p2 is swap space'])
  })

  it.each([
    ['0x1003', ['eth0 is up']],
    ['0x1002', []],
  ])('looks at the flags %s of a network interface', (flags, found) => {
    using tree = host()
    tree.file(`${FOLDER}/net/eth0/flags`, `${flags}\n`)
    tree.link('sys/class/net/eth0', `${FOLDER}/net/eth0`)
    expect(uses(tree)).toEqual(found)
  })

  it.each([
    [{ driver: 'i915' }, '1', ['it is the display that the host booted with']],
    [{ driver: 'i915' }, '0', []],
    [{ driver: 'vfio-pci' }, '1', []],
    [{}, '1', []],
  ])('looks whether a display with %j and boot_vga %s shows the host', (options, flag, found) => {
    using tree = new HostTree()
    tree.device(ADDRESS, options)
    tree.file(`${FOLDER}/boot_vga`, `${flag}\n`)
    expect(uses(tree)).toEqual(found)
  })

  it.each(['vfio-pci', undefined])('finds the guest that has the group of a device with the driver %s', driver => {
    using tree = new HostTree()
    tree.device(ADDRESS, { ...(driver === undefined ? {} : { driver }), group: 13 })
    tree.device('0000:00:11.1', { driver: 'vfio-pci', group: 13 })
    tree.file('proc/42/comm', 'qemu\n')
    tree.link('proc/42/fd/9', '/dev/vfio/13')
    expect(uses(tree)).toEqual(['process 42 (qemu) has it open'])
  })

  it('finds processes that have the disk or the group open, each once', () => {
    using tree = host()
    tree.device('0000:00:11.1', { driver: 'vfio-pci', group: 13 })
    tree.file('proc/41/comm', 'dd\n')
    tree.link('proc/41/fd/0', '/dev/nvme0n1')
    tree.link('proc/41/fd/1', '/dev/nvme0n1')
    tree.file('proc/42/comm', 'qemu\n')
    tree.link('proc/42/fd/9', '/dev/vfio/13')
    tree.link('proc/43/fd/9', '/dev/vfio/14')
    expect(uses(tree)).toEqual(['process 41 (dd) has nvme0n1 open', 'process 42 (qemu) has it open'])
  })
})

import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BadInput, HostError } from '../../../src/base/errors.ts'
import { Binding } from '../../../src/vfio/binding.ts'
import { HostTree } from '../../support/host-tree.ts'

const DISK = '0000:00:11.0'
const CARD = '0000:00:12.0'
const BARE = '0000:00:10.0'
/** Above what a kernel gives out (PID_MAX_LIMIT). */
const NO_PROCESS = 2 ** 22 + 1

function host(): HostTree {
  const tree = new HostTree()
  tree.driver('vfio-pci')
  tree.device(DISK, { driver: 'nvme', group: 13 })
  tree.device(CARD, { driver: 'e1000e', group: 14 })
  tree.device(BARE, { group: 12 })
  return tree
}

const notes = (tree: HostTree) => (existsSync(tree.notes) ? readdirSync(tree.notes) : [])

describe('Binding.bind', () => {
  it('gives devices to vfio-pci', () => {
    using tree = host()
    new Binding(tree).bind(['00:11.0', BARE])
    expect([tree.driverOf(DISK), tree.driverOf(BARE)]).toEqual(['vfio-pci', 'vfio-pci'])
  })

  it('leaves a device alone that vfio-pci has', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    new Binding(tree).bind([DISK, DISK])
    new Binding(tree).unbind([DISK])
    expect(tree.driverOf(DISK)).toBe('nvme')
  })

  it('leaves a device alone that a guest has', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    tree.link('proc/1/fd/7', '/dev/vfio/13')
    new Binding(tree).bind([DISK])
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
  })

  it('takes a device once that is named twice', () => {
    using tree = host()
    tree.refusals.set(`vfio-pci/unbind ${DISK}`, 'EBUSY')
    new Binding(tree).bind([DISK, '00:11.0'])
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
  })

  it('loads vfio-pci where it is missing', () => {
    using tree = new HostTree()
    tree.device(DISK, { driver: 'nvme', group: 13 })
    tree.loadable.add('vfio-pci')
    new Binding(tree).bind([DISK])
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
  })

  it('says that there is no vfio-pci to load, and changes nothing', () => {
    using tree = new HostTree()
    tree.device(DISK, { driver: 'nvme', group: 13 })
    expect(() => new Binding(tree).bind([DISK])).toThrow(
      new HostError('the module vfio-pci cannot be loaded (Module vfio-pci not found): see bulkhead doctor'),
    )
    expect([tree.driverOf(DISK), tree.overrideOf(DISK), notes(tree)]).toEqual(['nvme', '(null)', []])
  })

  it('gives all back when one of them is not taken', () => {
    using tree = host()
    tree.refusals.set(`e1000e/unbind ${CARD}`, 'EBUSY')
    expect(() => new Binding(tree).bind([DISK, CARD])).toThrow(
      /^the driver of 0000:00:12\.0 cannot be changed \(EBUSY\)/,
    )
    expect([tree.driverOf(DISK), tree.driverOf(CARD)]).toEqual(['nvme', 'e1000e'])
    expect([tree.overrideOf(DISK), tree.overrideOf(CARD), notes(tree)]).toEqual(['(null)', '(null)', []])
  })

  it('gives a device back that vfio-pci does not take', () => {
    using tree = host()
    tree.refusals.set(`pci/drivers_probe ${DISK}`, 'EINVAL')
    expect(() => new Binding(tree).bind([DISK])).toThrow(HostError)
    expect([tree.driverOf(DISK), tree.overrideOf(DISK)]).toEqual(['nvme', '(null)'])
  })

  it('notices that vfio-pci does not take a device, though nothing failed', () => {
    using tree = host()
    expect(() => new Binding(withoutProbe(tree)).bind([DISK])).toThrow(
      new HostError('vfio-pci does not take 0000:00:11.0: see dmesg'),
    )
    expect([tree.driverOf(DISK), tree.overrideOf(DISK)]).toEqual(['nvme', '(null)'])
  })

  it.each([
    ['before the driver let go', 'nvme'],
    ['after the driver let go', undefined],
  ])('goes on where a run was killed %s, and still knows what had the device', (_, driver) => {
    using tree = host()
    leaveHalfway(tree, driver)
    new Binding(tree).bind([DISK])
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
    new Binding(tree).unbind([DISK])
    expect([tree.driverOf(DISK), tree.overrideOf(DISK), notes(tree)]).toEqual(['nvme', '(null)', []])
  })

  it('says why it fails when what it took cannot be given back either, and keeps the note', () => {
    using tree = host()
    tree.refusals.set(`e1000e/unbind ${CARD}`, 'EBUSY').set(`vfio-pci/unbind ${DISK}`, 'EIO')
    expect(() => new Binding(tree).bind([DISK, CARD])).toThrow(
      /^the driver of 0000:00:12\.0 cannot be changed \(EBUSY\)/,
    )
    expect(notes(tree)).toEqual([DISK])
  })

  it('makes a device stay that a killed run would have given back', () => {
    using tree = host()
    new Binding(tree).withBound(DISK)
    tree.file(`run/bulkhead/vfio/${DISK}`, JSON.stringify({ driver: 'nvme', override: null, process: NO_PROCESS }))
    new Binding(tree).bind([DISK])
    new Binding(tree).withBound(DISK)[Symbol.dispose]()
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
    new Binding(tree).unbind([DISK])
    expect(tree.driverOf(DISK)).toBe('nvme')
  })

  it('refuses a bridge', () => {
    using tree = host()
    tree.device('0000:00:1c.0', { class: '0x060400', driver: 'pcieport', group: 1 })
    expect(() => new Binding(tree).bind(['00:1c.0'])).toThrow(BadInput)
    expect(tree.driverOf('0000:00:1c.0')).toBe('pcieport')
  })

  it('refuses a device without an IOMMU group', () => {
    using tree = host()
    tree.device('0000:00:13.0', { driver: 'nvme' })
    expect(() => new Binding(tree).bind([DISK, '00:13.0'])).toThrow(/^0000:00:13\.0 is in no IOMMU group/)
    expect(tree.driverOf(DISK)).toBe('nvme')
  })

  it('refuses a device that is in use', () => {
    using tree = host()
    useDisk(tree)
    expect(() => new Binding(tree).bind([CARD, DISK])).toThrow(
      new BadInput(
        '0000:00:11.0 is in use (nvme0n1 is mounted on /): end that, or do it all the same with bulkhead vfio bind --force 0000:00:11.0',
      ),
    )
    expect([tree.driverOf(CARD), tree.driverOf(DISK)]).toEqual(['e1000e', 'nvme'])
  })

  it('takes a device that is in use by force', () => {
    using tree = host()
    useDisk(tree)
    new Binding(tree).bind([DISK], { force: true })
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
  })
})

describe('Binding.unbind', () => {
  it('gives devices back to what had them', () => {
    using tree = host()
    tree.device('0000:00:13.0', { driver: 'pci-stub', override: 'pci-stub', group: 16 })
    const all = [DISK, BARE, '0000:00:13.0']
    new Binding(tree).bind(all)
    new Binding(tree).unbind(all)
    expect(all.map(address => tree.driverOf(address))).toEqual(['nvme', undefined, 'pci-stub'])
    expect(all.map(address => tree.overrideOf(address))).toEqual(['(null)', '(null)', 'pci-stub'])
    expect(notes(tree)).toEqual([])
  })

  it('gives a device back that was to be vfio-pci already, and was not', () => {
    using tree = new HostTree()
    tree.driver('vfio-pci')
    tree.device(DISK, { driver: 'nvme', override: 'vfio-pci', group: 13 })
    new Binding(tree).bind([DISK])
    new Binding(tree).unbind([DISK])
    expect([tree.driverOf(DISK), tree.overrideOf(DISK)]).toEqual(['nvme', '(null)'])
  })

  it('leaves a device alone that vfio-pci does not have', () => {
    using tree = host()
    new Binding(tree).unbind([DISK, BARE])
    expect([tree.driverOf(DISK), tree.driverOf(BARE)]).toEqual(['nvme', undefined])
  })

  it('lets anybody take a device of which nothing is noted', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    new Binding({ ...plain(tree), notes: join(tree.notes, 'elsewhere') }).unbind([DISK])
    expect([tree.driverOf(DISK), tree.overrideOf(DISK)]).toEqual(['nvme', '(null)'])
  })

  it('lets anybody take a device whose driver is gone', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    tree.refusals.set(`nvme/bind ${DISK}`, 'ENODEV')
    new Binding(tree).unbind([DISK])
    expect(tree.driverOf(DISK)).toBe('nvme')
  })

  it('says that nobody takes a device', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    tree.refusals.set(`nvme/bind ${DISK}`, 'ENODEV')
    expect(() => new Binding(withoutProbe(tree)).unbind([DISK])).toThrow(
      new HostError('0000:00:11.0 is free, but its driver nvme does not take it back: see dmesg'),
    )
  })

  it('gives the others back when one is not taken back, and says so', () => {
    using tree = host()
    new Binding(tree).bind([DISK, CARD])
    tree.refusals.set(`vfio-pci/unbind ${DISK}`, 'EBUSY')
    expect(() => new Binding(tree).unbind([DISK, CARD])).toThrow(HostError)
    expect([tree.driverOf(DISK), tree.driverOf(CARD)]).toEqual(['vfio-pci', 'e1000e'])
  })

  it('gives back what a run left half-way', () => {
    using tree = host()
    leaveHalfway(tree, undefined)
    new Binding(tree).unbind([DISK])
    expect([tree.driverOf(DISK), tree.overrideOf(DISK), notes(tree)]).toEqual(['nvme', '(null)', []])
  })

  it('says of all what is wrong with them', () => {
    using tree = host()
    new Binding(tree).bind([DISK, CARD])
    tree.refusals.set(`vfio-pci/unbind ${DISK}`, 'EBUSY').set(`vfio-pci/unbind ${CARD}`, 'EIO')
    expect(() => new Binding(tree).unbind([DISK, CARD])).toThrow(
      /^the driver of 0000:00:11\.0 cannot be changed \(EBUSY\).*; the driver of 0000:00:12\.0 cannot be changed \(EIO\)/,
    )
  })

  it('refuses a device that a guest has, but for force', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    tree.file('proc/1/comm', 'bulkhead\n')
    tree.link('proc/1/fd/7', '/dev/vfio/13')
    expect(() => new Binding(tree).unbind([DISK])).toThrow(/in use \(process 1 \(bulkhead\) has it open\)/)
    new Binding(tree).unbind([DISK], { force: true })
    expect(tree.driverOf(DISK)).toBe('nvme')
  })
})

describe('Binding.withBound', () => {
  it('gives the device back at the end', () => {
    using tree = host()
    const bound = new Binding(tree).withBound('00:11.0')
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
    bound[Symbol.dispose]()
    expect([tree.driverOf(DISK), notes(tree)]).toEqual(['nvme', []])
  })

  it('leaves a device where it is that was bound before', () => {
    using tree = host()
    new Binding(tree).bind([DISK])
    new Binding(tree).withBound(DISK)[Symbol.dispose]()
    expect([tree.driverOf(DISK), notes(tree)]).toEqual(['vfio-pci', [DISK]])
  })

  it('gives a device back in place of a run that was killed', () => {
    using tree = host()
    new Binding(tree).withBound(DISK)
    const note = JSON.parse(readFileSync(join(tree.notes, DISK), 'utf8')) as object
    expect(note).toEqual({ driver: 'nvme', override: null, process: process.pid })
    tree.file(`run/bulkhead/vfio/${DISK}`, JSON.stringify({ ...note, process: NO_PROCESS }))
    new Binding(tree).withBound(DISK)[Symbol.dispose]()
    expect(tree.driverOf(DISK)).toBe('nvme')
  })

  it('notes whose it is before it moves the device', () => {
    using tree = host()
    const seen: string[] = []
    const write = (path: string, text: string) => {
      seen.push(readFileSync(join(tree.notes, DISK), 'utf8'))
      tree.write(path, text)
    }
    new Binding({ ...plain(tree), write }).withBound(DISK)
    expect(JSON.parse(seen[0] as string)).toEqual({ driver: 'nvme', override: null, process: process.pid })
  })

  it('gives the device back that a killed run left half-way', () => {
    using tree = host()
    leaveHalfway(tree, undefined)
    new Binding(tree).withBound(DISK)[Symbol.dispose]()
    expect([tree.driverOf(DISK), tree.overrideOf(DISK)]).toEqual(['nvme', '(null)'])
  })

  it('has nothing to give back of a device that was unplugged', () => {
    using tree = host()
    const bound = new Binding(tree).withBound(DISK)
    rmSync(join(tree.sysfs, 'bus/pci/devices', DISK))
    bound[Symbol.dispose]()
    expect(notes(tree)).toEqual([])
  })

  it('leaves a device to the run that bound it', () => {
    using tree = host()
    tree.file(`proc/${process.pid}/comm`, 'bulkhead\n')
    new Binding(tree).withBound(DISK)
    new Binding(tree).withBound(DISK)[Symbol.dispose]()
    expect(tree.driverOf(DISK)).toBe('vfio-pci')
  })
})

/** As a run leaves the disk that is killed before vfio-pci has it. */
function leaveHalfway(tree: HostTree, driver: string | undefined): void {
  tree.file(`run/bulkhead/vfio/${DISK}`, JSON.stringify({ driver: 'nvme', override: null, process: NO_PROCESS }))
  tree.write(join(tree.sysfs, `bus/pci/devices/${DISK}/driver_override`), 'vfio-pci')
  if (driver === undefined) tree.write(join(tree.sysfs, 'bus/pci/drivers/nvme/unbind'), DISK)
}

/** A host whose drivers look at no device by themselves. */
function withoutProbe(tree: HostTree) {
  const write = (path: string, text: string) => (path.endsWith('drivers_probe') ? undefined : tree.write(path, text))
  return { ...plain(tree), write }
}

/** The tree as a plain object, for a host that differs in one thing. */
function plain(tree: HostTree) {
  return {
    sysfs: tree.sysfs,
    proc: tree.proc,
    notes: tree.notes,
    write: (path: string, text: string) => tree.write(path, text),
    loadModule: (name: string) => tree.loadModule(name),
  }
}

function useDisk(tree: HostTree): void {
  tree.file(`sys/devices/pci0000:00/${DISK}/nvme/nvme0/nvme0n1/dev`, '259:0\n')
  tree.link('sys/class/block/nvme0n1', `sys/devices/pci0000:00/${DISK}/nvme/nvme0/nvme0n1`)
  tree.file('proc/self/mountinfo', '22 1 259:0 / / rw,relatime - ext4 /dev/nvme0n1 rw\n')
}

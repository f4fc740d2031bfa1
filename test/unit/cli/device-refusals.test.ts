import { linkSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bzImage } from '../../support/kernel-images.ts'
import { refusalWith, tryCommand } from '../../support/refusal.ts'

const TOP = mkdtempSync(join(tmpdir(), 'bulkhead-refusals-'))
const at = (name: string) => join(TOP, name)
const DISK = at('disk.img')
const OTHER_NAME = at('other-name.img')
writeFileSync(DISK, '')
truncateSync(DISK, 65536)
linkSync(DISK, OTHER_NAME)
writeFileSync(at('empty.img'), '')
writeFileSync(at('linux'), bzImage())
mkdirSync(at('folder'))

const server = createServer()
beforeAll(() => new Promise<void>(resolve => server.listen(at('used.sock'), resolve)))
const tcp = createServer()
beforeAll(() => new Promise<void>(resolve => tcp.listen(0, '0.0.0.0', resolve)))
afterAll(() => {
  server.close()
  tcp.close()
  rmSync(TOP, { recursive: true })
})

/** Status 2 and one sentence, with an empty cache that stays empty: nothing was fetched for it. */
const refuses = async (words: readonly string[], phrase: string) =>
  expect(await tryCommand(['run', ...words])).toEqual(refusalWith(phrase))

const DISKS: readonly [string, readonly string[], string][] = [
  ['a missing file', ['-d', at('none')], 'none does not exist: make it with truncate -s SIZE'],
  ['a file below a file', ['-d', join(DISK, 'none')], 'does not exist'],
  ['a directory', ['-d', at('folder')], 'folder is neither a file nor a block device'],
  ['a directory to read', ['-d', `${at('folder')},ro`], 'folder is neither a file nor a block device'],
  ['an empty file', ['-d', at('empty.img')], 'empty.img is empty: give it a size with truncate -s SIZE'],
  ['a character device', ['-d', '/dev/null'], '/dev/null is neither a file nor a block device'],
  ['a file that cannot be written', ['-d', '/proc/sys/kernel/ostype'], 'ostype,ro to only read it (EACCES)'],
  ['one disk twice', ['-d', DISK, '-d', DISK], 'a disk has one writer and then no readers'],
  ['one disk under two names', ['-d', DISK, '-d', OTHER_NAME], 'a disk has one writer and then no readers'],
  ['a reader beside a writer', ['-d', `${DISK},ro`, '-d', DISK], 'a disk has one writer and then no readers'],
  ['a long serial number', ['-d', `${DISK},serial=${'x'.repeat(21)}`], 'is longer than 20 bytes'],
  ['a share of what is missing', ['--share', at('none')], 'there is no such directory'],
  ['a share of a file', ['--share', DISK], 'there is no such directory'],
  ['an address that is none', ['-n', 'user,mac=02:00'], 'mac must be six bytes such as'],
  ['a multicast address', ['-n', 'user,mac=03:00:00:00:00:01'], 'its first byte must be even'],
  ["an mtu above passt's", ['-n', 'user,mtu=65535'], 'mtu must be 68 to 65520, not 65535'],
  ['an IOMMU for a device that is not there', ['--iommu', 'disk0'], 'no device is called "disk0": '],
  ['an IOMMU for a balloon', ['--balloon', '--iommu', 'balloon0'], 'balloon0 cannot be behind the IOMMU'],
  ["a host's device twice", ['--vfio', '00:10.0', '--vfio-pci', '0000:00:10.0'], '0000:00:10.0 is given twice'],
  ['an odd granule', ['--iommu', 'all,granule=5K'], 'granule is a power of two from 4K to 1G, not 5120'],
  ['a tap by name and number', ['-n', 'tap,ifname=a,fd=9'], 'leave one of them out'],
]

describe('bulkhead run', () => {
  it.each(DISKS)('refuses %s before it fetches the default guest', (_, words, phrase) =>
    refuses([...words, '--', 'true'], phrase),
  )

  it.each([
    ['a disk of two', ['--vfio', `nvme=${DISK}`, '--vfio', `nvme=${DISK}`], 'is in use by another guest or disk'],
    ['a writer and a reader', ['--vfio', `nvme=${DISK},ro`, '--disk', DISK], 'is in use by another guest or disk'],
    [
      'a writer of what is read',
      ['--vfio', `nvme=${DISK}`, '--disk', `${DISK},ro`],
      'is in use by another guest or disk',
    ],
  ])("refuses %s before it fetches the rig, where one is the rig's NVMe", (_, words, phrase) =>
    refuses(['-k', at('linux'), '--host', 'rig', ...words], phrase),
  )

  it.each(DISKS)('refuses %s before it fetches the rig', (_, words, phrase) =>
    refuses(['-k', at('linux'), '--host', 'rig', ...words], phrase),
  )

  it.each([
    ['a passt that is none', () => ['-n', `user,passt=${DISK}`], 'disk.img is no program'],
    ['an interface that is no tap', () => ['-n', 'tap,ifname=lo'], 'lo is no tap interface'],
    ['a name that no interface can have', () => ['-n', 'tap,ifname=a/b'], '"a/b" is no name for an interface'],
    ['a port that is in use', () => ['-n', `user,forward=${portNumber()}:22`], 'of this host is in use'],
    ['a vsock path in use', () => ['--vsock', `3,${at('used.sock')}`], 'is in use by another process'],
    ['a vsock path that is a file', () => ['--vsock', `3,${DISK}`], 'exists and is no socket'],
    ['a device that is not there', () => ['--vfio', 'ffff:ff:1f.7'], 'this host has no PCI device ffff:ff:1f.7'],
    [
      'a device of the rig',
      () => ['--vfio', 'edu'],
      '--vfio edu names a device of the rig, and the guest runs on this',
    ],
    ['a vsock path in no directory', () => ['--vsock', `3,${at('none')}/sock`], 'there is no directory'],
  ])('refuses %s before it fetches the default guest for KVM', (_, words, phrase) =>
    refuses(['-k', at('linux'), '--host', 'kvm', ...words(), '--', 'true'], phrase),
  )

  it.each([
    [['--vsock', '3,guest.sock'], "the rig's sockets cannot be reached from here"],
    [['--vfio', '01:00.0'], '--vfio 01:00.0 names a device of this host, and the guest runs in the rig'],
    [['-n', 'tap'], "the rig has no tap of this host's"],
    [['-n', 'user,forward=2222:22'], "the rig's ports cannot be reached from here"],
    [['-n', 'user,passt=/usr/bin/passt'], 'the rig has a passt of its own'],
  ])('refuses %j in the rig before it fetches that', (words, phrase) =>
    refuses(['-k', at('linux'), '--host', 'rig', ...words], phrase),
  )
})

function portNumber(): number {
  return (tcp.address() as { port: number }).port
}

/**
 * What the Linux benchmark needs in the emulated host and in its guests, as one ext4 image: fio, iperf3, the peer QEMU
 * and a file to read. From Debian packages and the rig's own QEMU; made once and kept in the cache.
 */
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { terminalProgress } from '../../src/base/progress.ts'
import { Apt } from '../../src/packages/apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from '../../src/packages/cache.ts'
import { copyProgram, unpackedCommand } from '../../src/packages/private-program.ts'
import { runTool } from '../../src/packages/tool.ts'
import { privateQemu } from '../../src/rig/private-qemu.ts'
import type { QemuProgram } from '../../src/rig/qemu.ts'
import { Skip } from './c-program.ts'

/** Where host and guests mount the image. */
export const TOOLS = '/tools'
/** The file on it that the disk loads read. */
export const DISK = { path: `${TOOLS}/disk`, mib: 64 } as const

const PACKAGES = ['e2fsprogs', 'fio', 'iperf3'] as const
const PROGRAMS = ['usr/bin/fio', 'usr/bin/iperf3'] as const
const LIBRARIES = 'usr/lib/x86_64-linux-gnu'
/** fio loads Ceph's client, which finds this one by an absolute path that is not there. */
const CEPH = 'libceph-common.so.2'
const IMAGE = 'tools.ext4'
const IMAGE_SIZE = '288M'
/** Raised when the same packages make another image. */
const FORMAT = '1'

/** The image, and how the peer is called where it is mounted. */
export interface LinuxTools {
  readonly image: string
  readonly qemu: QemuProgram
}

/** Makes the image with the rig's QEMU; throws `Skip` where that is the user's own. */
export async function linuxTools(qemu: QemuProgram): Promise<LinuxTools> {
  const [data] = qemu.dataFolders
  if (data === undefined) throw new Skip("the peer is the rig's private QEMU: unset BULKHEAD_QEMU")
  const folder = dirname(data)
  const binary = basename(qemu.command.at(-1) ?? '')
  // The rig's folder changes with more than its QEMU.
  const version = await runTool([...qemu.command, '--version'])
  const name = `bench-tools-${cacheKey([FORMAT, version, ...PACKAGES])}`
  const entry = await cacheEntry(cacheRoot(), name, target => build(folder, target))
  return { image: join(entry, IMAGE), qemu: privateQemu(`${TOOLS}/qemu`, binary) }
}

async function build(qemu: string, target: string): Promise<void> {
  const unpacked = join(target, 'unpacked')
  const content = join(target, 'content')
  mkdirSync(content)
  await Apt.with(join(cacheRoot(), 'apt'), terminalProgress(process.stderr), 'run this on Debian', async apt => {
    for (const name of PACKAGES) await apt.unpack(name, unpacked, { dependencies: true })
  })
  symlinkSync(join('ceph', CEPH), join(unpacked, LIBRARIES, CEPH))
  for (const path of PROGRAMS) await copyProgram(unpacked, path, content)
  cpSync(qemu, join(content, 'qemu'), { recursive: true })
  writeFileSync(join(content, basename(DISK.path)), randomBytes(DISK.mib * 2 ** 20))
  const options = ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-d', content]
  await runTool([...unpackedCommand(unpacked, 'sbin/mke2fs'), ...options, join(target, IMAGE), IMAGE_SIZE])
  for (const path of [unpacked, content]) rmSync(path, { recursive: true })
}

/** More of them than getRandomValues gives at once. */
function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += 2 ** 16) crypto.getRandomValues(bytes.subarray(at, at + 2 ** 16))
  return bytes
}

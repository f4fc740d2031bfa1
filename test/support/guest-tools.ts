/**
 * Programs for Linux guests of tests, as a read-only ext4 image: put together from Debian packages once and kept in the
 * cache. A guest gets it as a disk and mounts it; each program brings the libraries that it needs.
 */
import { copyFileSync, mkdirSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { terminalProgress } from '../../src/base/progress.ts'
import { Apt } from '../../src/packages/apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from '../../src/packages/cache.ts'
import { copyProgram, unpackedCommand } from '../../src/packages/private-program.ts'
import { runTool } from '../../src/packages/tool.ts'

/** Debian packages, and what of each is wanted. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  pciutils: ['usr/bin/lspci', 'usr/bin/setpci'],
  e2fsprogs: ['sbin/mke2fs', 'sbin/e2fsck'],
  iperf3: ['usr/bin/iperf3'],
  socat: ['usr/bin/socat'],
  ethtool: ['sbin/ethtool'],
  'kexec-tools': ['sbin/kexec'],
}
/** Read by lspci from where `-i` says. */
const PCI_IDS = 'usr/share/misc/pci.ids'
const IMAGE = 'tools.ext4'
const IMAGE_SIZE = '48M'
/** Raised when the same list makes another image. */
const FORMAT = '1'

/** What a guest's script starts with, given where it sees the image. */
export function mountTools(device: string): string {
  return `mkdir -p /opt/tools && mount -t ext4 -o ro ${device} /opt/tools && PATH=/opt/tools:$PATH; `
}

/** Path of the image. */
export async function guestTools(): Promise<string> {
  const name = `test-tools-${cacheKey([FORMAT, JSON.stringify(PROGRAMS)])}`
  return join(await cacheEntry(cacheRoot(), name, build), IMAGE)
}

async function build(folder: string): Promise<void> {
  const unpacked = join(folder, 'unpacked')
  const content = join(folder, 'content')
  mkdirSync(content)
  await Apt.with(join(cacheRoot(), 'apt'), terminalProgress(process.stderr), 'run this on Debian', async apt => {
    for (const name of Object.keys(PROGRAMS)) await apt.unpack(name, unpacked, { dependencies: true })
  })
  for (const path of Object.values(PROGRAMS).flat()) await copyProgram(unpacked, path, content)
  copyFileSync(realpathSync(join(unpacked, PCI_IDS)), join(content, 'pci.ids'))
  const options = ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-d', content]
  await runTool([...unpackedCommand(unpacked, 'sbin/mke2fs'), ...options, join(folder, IMAGE), IMAGE_SIZE])
  for (const path of [unpacked, content]) rmSync(path, { recursive: true })
}

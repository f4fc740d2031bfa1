/** A read-only drive with Bun and the C library it needs. As part of the initramfs it would cost seconds a boot. */
import { copyFileSync, mkdirSync, realpathSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { alignUp } from '../base/bits.ts'
import { libraries, unpackedCommand } from '../packages/private-program.ts'
import { runTool } from '../packages/tool.ts'

const MIB = 1 << 20

/** Writes an ext4 image to `target`. ext4 is built into L1's kernel, and mke2fs fills it without root. */
export async function buildBunDisk(unpacked: string, bun: string, target: string): Promise<void> {
  const content = `${target}.d`
  mkdirSync(join(content, 'bin'), { recursive: true })
  mkdirSync(join(content, 'lib'))
  copyFileSync(bun, join(content, 'bin/bun'))
  const needed = [...(await libraries(unpacked, bun)), join(unpacked, 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2')]
  for (const path of needed) copyFileSync(realpathSync(path), join(content, 'lib', basename(path)))
  const bytes = [bun, ...needed].reduce((sum, path) => sum + statSync(path).size, 0)
  // A twentieth and some more for the file system's own tables.
  const sizeMiB = alignUp(bytes * 1.05 + 8 * MIB, MIB) / MIB
  const mke2fs = unpackedCommand(unpacked, 'sbin/mke2fs')
  const options = ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-m', '0', '-b', '4096', '-d', content]
  await runTool([...mke2fs, ...options, target, `${sizeMiB}M`])
  rmSync(content, { recursive: true })
}

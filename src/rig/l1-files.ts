/** L1's kernel and initramfs, out of the unpacked packages. */
import { basename } from 'node:path'
import { requireVmlinux } from '../boot/payload.ts'
import { CpioBuilder } from '../packages/cpio.ts'
import { addBusybox, readKernel, readModules } from '../packages/unpacked.ts'

const FOLDERS = ['bin', 'bun', 'dev', 'etc', 'lib/modules', 'lib64', 'proc', 'root', 'run', 'sys', 'tmp'] as const
const LOADER = 'ld-linux-x86-64.so.2'

/** The ELF kernel of the one kernel package: QEMU starts it seconds sooner than a bzImage. */
export function extractKernel(unpacked: string): Uint8Array {
  const { release, bzImage } = readKernel(unpacked)
  return requireVmlinux(bzImage, release)
}

/** An initramfs with busybox, the modules in load order and `init`. */
export function buildInitrd(unpacked: string, modules: readonly string[], init: Uint8Array): Uint8Array {
  const archive = new CpioBuilder()
  for (const folder of FOLDERS) archive.directory(folder)
  archive.file('init', init, 0o755)
  // passt, called by root, goes on as nobody.
  archive.file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n')
  archive.file('etc/group', 'root:x:0:\nnogroup:x:65534:\n')
  addBusybox(archive, unpacked)
  // Bun's drive has the C library; these are the places where programs look for it.
  archive.symlink('lib/x86_64-linux-gnu', '/bun/lib').symlink(`lib64/${LOADER}`, `/bun/lib/${LOADER}`)
  const picked = readModules(unpacked, readKernel(unpacked).release, modules)
  for (const module of picked) archive.file(`lib/modules/${basename(module.path)}`, module.image)
  archive.file('etc/modules', picked.map(module => `${basename(module.path)}\n`).join(''))
  return archive.build()
}

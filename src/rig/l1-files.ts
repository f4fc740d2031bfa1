/** L1's kernel and initramfs, out of the unpacked packages. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { extractVmlinux } from '../boot/payload.ts'
import { CpioBuilder } from '../packages/cpio.ts'
import { pickModules } from '../packages/modules.ts'

const MAX_MODULE = 64 << 20
const FOLDERS = ['bin', 'bun', 'dev', 'etc', 'lib/modules', 'lib64', 'proc', 'root', 'run', 'sys', 'tmp'] as const

/** The ELF kernel of the one kernel package: QEMU starts it seconds sooner than a bzImage. */
export function extractKernel(unpacked: string): Uint8Array {
  const name = readdirSync(join(unpacked, 'boot')).find(file => file.startsWith('vmlinuz-'))
  if (name === undefined) throw new HostError('the kernel package has no kernel image')
  const vmlinux = extractVmlinux(readFileSync(join(unpacked, 'boot', name)), name)
  if (vmlinux === undefined) throw new HostError(`${name} is compressed in a way that cannot be unpacked here`)
  return vmlinux
}

/** An initramfs with busybox, the modules in load order and `init`. */
export async function buildInitrd(unpacked: string, modules: readonly string[], init: Uint8Array): Promise<Uint8Array> {
  const busybox = join(unpacked, 'bin/busybox')
  const archive = new CpioBuilder()
  for (const folder of FOLDERS) archive.directory(folder)
  archive.file('init', init, 0o755).file('bin/busybox', readFileSync(busybox), 0o755)
  for (const applet of run(busybox, ['--list']).toString().split('\n'))
    if (applet !== '' && applet !== 'busybox') archive.symlink(`bin/${applet}`, 'busybox')
  archive
    .symlink('lib/x86_64-linux-gnu', '/bun/lib')
    .symlink('lib64/ld-linux-x86-64.so.2', '/bun/lib/ld-linux-x86-64.so.2')
  const folder = join(unpacked, 'lib/modules')
  const release = readdirSync(folder)[0] as string
  const picked = pickModules(join(folder, release), modules, path => readModule(busybox, path))
  for (const module of picked) archive.file(`lib/modules/${basename(module.path)}`, module.image)
  archive.file('etc/modules', picked.map(module => `${basename(module.path)}\n`).join(''))
  return archive.build()
}

function readModule(busybox: string, path: string): Uint8Array {
  return path.endsWith('.xz') ? run(busybox, ['xz', '-dc', path]) : readFileSync(path)
}

function run(program: string, args: readonly string[]): Uint8Array & { toString(): string } {
  const result = spawnSync(program, args, { maxBuffer: MAX_MODULE })
  if (result.status !== 0)
    throw new HostError(`${program} ${args.join(' ')} failed: ${result.stderr?.toString().trim()}`)
  return result.stdout
}

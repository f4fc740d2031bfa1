/** Takes kernels, modules and busybox out of unpacked Debian packages. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'
import type { CpioBuilder } from './cpio.ts'
import { type PickedModule, pickModules } from './modules.ts'
import { readFromTool } from './tool.ts'

/** The one kernel in a folder of unpacked packages. */
export interface UnpackedKernel {
  readonly release: string
  readonly bzImage: Uint8Array
}

/** Finds the kernel; throws `HostError` when the package has none. */
export function readKernel(unpacked: string): UnpackedKernel {
  const name = readdirSync(join(unpacked, 'boot')).find(file => file.startsWith('vmlinuz-'))
  if (name === undefined) throw new HostError('the kernel package has no kernel image')
  const bzImage = new Uint8Array(readFileSync(join(unpacked, 'boot', name)))
  return { release: name.slice('vmlinuz-'.length), bzImage }
}

/** The modules `names` with what they need, uncompressed and in load order. */
export function readModules(unpacked: string, release: string, names: readonly string[]): readonly PickedModule[] {
  const busybox = busyboxPath(unpacked)
  const read = (path: string) =>
    path.endsWith('.xz') ? readFromTool([busybox, 'xz', '-dc', path]) : new Uint8Array(readFileSync(path))
  return pickModules(join(unpacked, 'lib/modules', release), names, read)
}

/** Adds busybox to an archive, with a link in /bin for each of its commands. */
export function addBusybox(archive: CpioBuilder, unpacked: string): void {
  const busybox = busyboxPath(unpacked)
  archive.file('bin/busybox', new Uint8Array(readFileSync(busybox)), 0o755)
  for (const applet of new TextDecoder().decode(readFromTool([busybox, '--list'])).split('\n'))
    if (applet !== '' && applet !== 'busybox') archive.symlink(`bin/${applet}`, 'busybox')
}

function busyboxPath(unpacked: string): string {
  return join(unpacked, 'bin/busybox')
}

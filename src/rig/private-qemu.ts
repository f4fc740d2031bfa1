/** A QEMU that runs from a folder of its own: the binary, the libraries it loads, and the firmware a PC needs. */
import { copyFileSync, cpSync, existsSync, mkdirSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { runTool } from '../packages/tool.ts'
import type { QemuProgram } from './qemu.ts'

const LIBRARY_FOLDERS = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'] as const
const LOADER = 'ld-linux-x86-64.so.2'
const MODULE_FOLDER = 'usr/lib/x86_64-linux-gnu/qemu'
/** The emulator proper is a module; the rest of the modules are for displays and sound. */
const MODULES = ['accel-tcg-x86_64.so', 'accel-tcg-i386.so'] as const
const FIRMWARE = ['bios-256k.bin', 'kvmvapic.bin', 'pvh.bin', 'linuxboot_dma.bin'] as const
const FIRMWARE_FOLDERS = ['usr/share/qemu', 'usr/share/seabios'] as const

/** Copies out of the unpacked packages what `binary` needs. */
export async function copyQemu(unpacked: string, binary: string, target: string): Promise<void> {
  const program = join(unpacked, 'usr/bin', binary)
  const modules = MODULES.map(name => join(unpacked, MODULE_FOLDER, name)).filter(path => existsSync(path))
  for (const folder of ['lib', 'modules', 'data']) mkdirSync(join(target, folder), { recursive: true })
  copyFileSync(realpathSync(program), join(target, 'qemu'))
  copyFileSync(join(unpacked, LIBRARY_FOLDERS[0], LOADER), join(target, 'lib', LOADER))
  for (const path of modules) copyFileSync(path, join(target, 'modules', basename(path)))
  for (const path of [program, ...modules])
    for (const library of await libraries(unpacked, path))
      copyFileSync(realpathSync(library), join(target, 'lib', basename(library)))
  for (const name of FIRMWARE) cpSync(findFirmware(unpacked, name), join(target, 'data', name))
}

/** How to call the copy in `folder`. Its own loader runs it, so the system's libraries do not matter. */
export function privateQemu(folder: string): QemuProgram {
  return {
    command: privateCommand(join(folder, 'lib', LOADER), [join(folder, 'lib')], join(folder, 'qemu')),
    env: { QEMU_MODULE_DIR: join(folder, 'modules') },
    dataFolders: [join(folder, 'data')],
  }
}

/** A program out of the unpacked packages, with their libraries. */
export function unpackedCommand(unpacked: string, path: string): string[] {
  const folders = LIBRARY_FOLDERS.map(folder => join(unpacked, folder))
  return privateCommand(join(unpacked, LIBRARY_FOLDERS[0], LOADER), folders, join(unpacked, path))
}

/** Libraries that `path` needs, by the loader's own account. */
export async function libraries(unpacked: string, path: string): Promise<string[]> {
  const folders = LIBRARY_FOLDERS.map(folder => join(unpacked, folder))
  const loader = join(unpacked, LIBRARY_FOLDERS[0], LOADER)
  const list = await runTool([loader, '--library-path', folders.join(':'), '--list', path])
  const found = [...list.matchAll(/=> (\/\S+)/g)].map(match => match[1] as string)
  const foreign = found.find(library => !library.startsWith(unpacked))
  if (foreign !== undefined) throw new HostError(`the library ${foreign} is in none of the packages fetched`)
  return found
}

function privateCommand(loader: string, folders: readonly string[], program: string): string[] {
  return [loader, '--library-path', folders.join(':'), program]
}

function findFirmware(unpacked: string, name: string): string {
  const path = FIRMWARE_FOLDERS.map(folder => join(unpacked, folder, name)).find(existsSync)
  if (path === undefined) throw new HostError(`the firmware ${name} is in none of the packages fetched`)
  return realpathSync(path)
}

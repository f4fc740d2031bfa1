/** A QEMU that runs from a folder of its own: the binary, the libraries it loads, and the firmware a PC needs. */
import { copyFileSync, cpSync, existsSync, mkdirSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { copyProgram, LOADER, libraries, privateCommand } from '../packages/private-program.ts'
import type { QemuProgram } from './qemu.ts'

const MODULE_FOLDER = 'usr/lib/x86_64-linux-gnu/qemu'
/** The emulator proper is a module; the rest of the modules are for displays and sound. */
const MODULES = ['accel-tcg-x86_64.so', 'accel-tcg-i386.so'] as const
const FIRMWARE = ['bios-256k.bin', 'kvmvapic.bin', 'pvh.bin', 'linuxboot_dma.bin'] as const
const FIRMWARE_FOLDERS = ['usr/share/qemu', 'usr/share/seabios'] as const

/** Copies out of the unpacked packages what `binary` needs. */
export async function copyQemu(unpacked: string, binary: string, target: string): Promise<void> {
  await copyProgram(unpacked, join('usr/bin', binary), target)
  const modules = MODULES.map(name => join(unpacked, MODULE_FOLDER, name)).filter(path => existsSync(path))
  for (const folder of ['modules', 'data']) mkdirSync(join(target, folder), { recursive: true })
  for (const path of modules) {
    copyFileSync(path, join(target, 'modules', basename(path)))
    for (const library of await libraries(unpacked, path))
      copyFileSync(realpathSync(library), join(target, 'lib', basename(library)))
  }
  for (const name of FIRMWARE) cpSync(findFirmware(unpacked, name), join(target, 'data', name))
}

/** How to call the copy of `binary` in `folder`. Its own loader runs it, so the system's libraries do not matter. */
export function privateQemu(folder: string, binary: string): QemuProgram {
  const lib = join(folder, 'lib')
  return {
    command: privateCommand(join(lib, LOADER), [lib], join(lib, binary)),
    env: { QEMU_MODULE_DIR: join(folder, 'modules') },
    dataFolders: [join(folder, 'data')],
  }
}

function findFirmware(unpacked: string, name: string): string {
  const path = FIRMWARE_FOLDERS.map(folder => join(unpacked, folder, name)).find(existsSync)
  if (path === undefined) throw new HostError(`the firmware ${name} is in none of the packages fetched`)
  return realpathSync(path)
}

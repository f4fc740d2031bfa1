/**
 * Reads the `.modinfo` section of a kernel module: NUL-separated `key=value` strings in a 64-bit little-endian ELF object
 * (ELF-64 Object File Format 1.5, linux/moduleparam.h). Nothing else of the object is looked at.
 */
import { HostError } from '../base/errors.ts'
import { getU64 } from '../base/u64.ts'

const ELF_MAGIC = 0x7f45_4c46
const ELFCLASS64_LSB = 0x0201

/** Elf64_Ehdr and Elf64_Shdr offsets. */
const E_SHOFF = 0x28
const E_SHENTSIZE = 0x3a
const E_SHNUM = 0x3c
const E_SHSTRNDX = 0x3e
const EHDR_SIZE = 0x40
const SH_NAME = 0x00
const SH_OFFSET = 0x18
const SH_SIZE = 0x20
const SHDR_SIZE = 0x40

/** What module loading needs to know of a module. */
export interface ModuleInfo {
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
}

/** Parses module `name`'s uncompressed image; the name is for errors only. */
export function readModuleInfo(name: string, image: Uint8Array): ModuleInfo {
  const section = findSection(name, image, '.modinfo')
  const values = new TextDecoder('latin1').decode(section).split('\0')
  const all = (key: string) => values.filter(value => value.startsWith(`${key}=`)).map(v => v.slice(key.length + 1))
  return {
    depends: all('depends').flatMap(list => list.split(',').filter(Boolean)),
    aliases: all('alias'),
  }
}

function findSection(name: string, image: Uint8Array, wanted: string): Uint8Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (image.length < EHDR_SIZE || view.getUint32(0) !== ELF_MAGIC || view.getUint16(4) !== ELFCLASS64_LSB)
    throw notAModule(name)
  const table = getU64(view, E_SHOFF)
  const entrySize = view.getUint16(E_SHENTSIZE, true)
  const count = view.getUint16(E_SHNUM, true)
  if (entrySize < SHDR_SIZE || table + entrySize * count > image.length) throw notAModule(name)
  const contents = (index: number) => {
    const start = getU64(view, table + index * entrySize + SH_OFFSET)
    const size = getU64(view, table + index * entrySize + SH_SIZE)
    if (start + size > image.length) throw notAModule(name)
    return image.subarray(start, start + size)
  }
  const namesIndex = view.getUint16(E_SHSTRNDX, true)
  if (namesIndex >= count) throw notAModule(name)
  const names = new TextDecoder('latin1').decode(contents(namesIndex))
  for (let index = 0; index < count; index++) {
    const at = view.getUint32(table + index * entrySize + SH_NAME, true)
    if (names.startsWith(`${wanted}\0`, at)) return contents(index)
  }
  throw notAModule(name)
}

function notAModule(name: string): HostError {
  return new HostError(`The file of kernel module ${name} is damaged: remove the cache folder and try again.`)
}

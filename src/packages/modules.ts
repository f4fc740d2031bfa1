/**
 * Picks kernel modules with what they depend on out of an unpacked /lib/modules/VERSION. A package brings no modules.dep
 * (depmod runs on installation), so dependencies come from the modules themselves, and the index files for the guest's
 * modprobe are written here.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { type ModuleInfo, readModuleInfo } from './modinfo.ts'

/** One module, ready to be loaded. */
export interface PickedModule {
  /** As the kernel names it: underscores. */
  readonly name: string
  /** Below /lib/modules/VERSION, uncompressed: `kernel/drivers/block/virtio_blk.ko`. */
  readonly path: string
  readonly image: Uint8Array
  /** Module names, direct dependencies only, builtins left out. */
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
}

/** Gives the uncompressed contents of a `.ko`, `.ko.xz`, ... file. */
export type ModuleReader = (path: string) => Uint8Array

/** The kernel takes `-` and `_` in module names for the same character. */
export function moduleName(name: string): string {
  return name.replaceAll('-', '_')
}

/**
 * The modules `names` and everything they need, each after what it depends on. Builtins are left out silently.
 *
 * @example pickModules('/lib/modules/6.12.117', ['virtio_blk'], readModule)
 */
export function pickModules(folder: string, names: readonly string[], read: ModuleReader): PickedModule[] {
  const files = listModules(folder)
  const builtin = listBuiltins(folder)
  const picked = new Map<string, PickedModule>()
  const visiting = new Set<string>()

  const visit = (name: string, neededBy?: string) => {
    if (picked.has(name) || builtin.has(name)) return
    const file = files.get(name)
    if (file === undefined)
      throw new HostError(`The kernel package has no module ${name}${neededBy ? `, which ${neededBy} needs` : ''}.`)
    if (visiting.has(name)) throw new HostError(`Kernel module ${name} depends on itself.`)
    visiting.add(name)
    const image = read(join(folder, file))
    const info: ModuleInfo = readModuleInfo(name, image)
    const depends = info.depends.map(moduleName).filter(other => !builtin.has(other))
    for (const other of depends) visit(other, name)
    picked.set(name, { name, path: uncompressedPath(file), image, depends, aliases: info.aliases })
  }

  for (const name of names) visit(moduleName(name))
  return [...picked.values()]
}

/** modules.dep(5): each module with all it needs, the last one to be loaded first, as modprobe reads it. */
export function modulesDep(modules: readonly PickedModule[]): string {
  return lines(
    modules.map(module => {
      const needed = closure(modules, module)
      return `${module.path}:${needed.map(other => ` ${other.path}`).join('')}`
    }),
  )
}

/** modules.alias: lets `modprobe virtio:d00000002v00001AF4` and the kernel's own requests (`fs-overlay`) find a module. */
export function modulesAlias(modules: readonly PickedModule[]): string {
  return lines(modules.flatMap(module => module.aliases.map(alias => `alias ${alias} ${module.name}`)))
}

/** All that `module` needs, in reverse load order. `modules` is in load order, as `pickModules` gives it. */
function closure(modules: readonly PickedModule[], module: PickedModule): PickedModule[] {
  const wanted = new Set(module.depends)
  const needed: PickedModule[] = []
  for (const other of modules.toReversed()) {
    if (!wanted.has(other.name)) continue
    needed.push(other)
    for (const name of other.depends) wanted.add(name)
  }
  return needed
}

function listModules(folder: string): Map<string, string> {
  const files = new Map<string, string>()
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const match = /([^/]+)\.ko(\.\w+)?$/.exec(path)
    if (match) files.set(moduleName(match[1]!), path)
  }
  return files
}

function listBuiltins(folder: string): Set<string> {
  const paths = readFileSync(join(folder, 'modules.builtin'), 'utf8').split('\n').filter(Boolean)
  return new Set(paths.map(path => moduleName(path.replace(/^.*\//, '').replace(/\.ko$/, ''))))
}

function uncompressedPath(path: string): string {
  return path.replace(/\.ko\.\w+$/, '.ko')
}

function lines(all: readonly string[]): string {
  return all.map(line => `${line}\n`).join('')
}

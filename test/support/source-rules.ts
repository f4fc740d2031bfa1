/** The rules of the source tree that no compiler checks: who imports whom, file length, exports, leftovers. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'

/** A source file: its path from the top of the project, and its text. */
export interface SourceFile {
  readonly path: string
  readonly text: string
}

/**
 * What each folder of src may import besides itself: folders, or single files of one. `cli.ts` and `index.ts` are the
 * two files at the top. A folder that is not listed may import nothing.
 */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'cli.ts': ['cli', 'base'],
  cli: [
    'index.ts',
    'machine',
    'report',
    'control',
    'guest',
    'rig',
    'packages',
    'kvm/host-kind.ts',
    'vfio/binding.ts',
    'vfio/device-use.ts',
    'vfio/host-devices.ts',
    'vfio/memory-limit.ts',
    'host',
    'base',
  ],
  'index.ts': ['machine', 'control', 'guest', 'rig', 'packages', 'arch', 'boot', 'kvm', 'memory', 'host', 'base'],
  report: ['iommu', 'base'],
  control: ['machine', 'arch', 'host', 'base'],
  machine: [
    'arch',
    'boot',
    'backend',
    'vfio',
    'virtio',
    'iommu',
    'pci',
    'devices',
    'bus',
    'kvm',
    'memory',
    'host',
    'base',
  ],
  arch: ['boot', 'iommu/topology.ts', 'pci', 'devices', 'bus', 'kvm', 'memory', 'host', 'base'],
  rig: ['packages', 'boot/payload.ts', 'host', 'base'],
  guest: ['packages', 'boot/payload.ts', 'host', 'base'],
  packages: ['host', 'base'],
  boot: ['iommu/topology.ts', 'base'],
  backend: ['virtio', 'memory', 'host', 'base'],
  vfio: ['iommu', 'pci', 'bus', 'memory', 'host', 'base'],
  virtio: ['iommu', 'pci', 'bus', 'memory', 'base'],
  iommu: ['memory', 'base'],
  pci: ['bus', 'memory', 'base'],
  devices: ['bus', 'memory', 'base'],
  kvm: ['memory', 'host', 'base'],
  bus: ['base'],
  memory: ['host', 'base'],
  host: ['base'],
  base: [],
}

const MAX_LINES = 400
/** Written apart, so that the rule does not find itself. */
const LEFTOVERS = new RegExp(`\\b(?:${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')})\\b`)

const STATIC_IMPORT = /^[ \t]*import\s+(?:type\s+)?(?:[\w*{][^'";]*?\sfrom\s*)?(['"])([^'"]+)\1/gm
const RE_EXPORT = /^[ \t]*export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s*(['"])([^'"]+)\1/gm
/** Also the types `import('x').T` and `typeof import('x')`. */
const DYNAMIC_IMPORT = /\b(?:import|require)\(\s*(?:(['"`])([^'"`$]+)\1)?/g
const DEFAULT_EXPORT = /^[ \t]*export\s+default\b|\bas\s+default\b/m

/** All TypeScript files below `folder` of the project at `root`. */
export function readSources(root: string, folder: string): readonly SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => join(entry.parentPath, entry.name))
    .filter(path => !path.includes('node_modules'))
    .map(path => ({ path: relative(root, path), text: readFileSync(path, 'utf8') }))
}

/** What `text` imports in whatever way; undefined for an import of something computed. */
export function importsOf(text: string): readonly (string | undefined)[] {
  return [STATIC_IMPORT, RE_EXPORT, DYNAMIC_IMPORT].flatMap(pattern =>
    [...text.matchAll(pattern)].map(match => match[2]),
  )
}

/** A line for every import under src that its folder may not make. */
export function importBreaches(files: readonly SourceFile[]): readonly string[] {
  return files.flatMap(({ path, text }) =>
    importsOf(text)
      .map(specifier => importBreach(path, specifier))
      .filter(breach => breach !== undefined),
  )
}

/** A line for every file with more than 400 lines. */
export function longFiles(files: readonly SourceFile[]): readonly string[] {
  return files
    .map(({ path, text }) => ({ path, lines: text.replace(/\n$/, '').split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => `${path} has ${lines} lines`)
}

/** The files that have a default export. */
export function defaultExports(files: readonly SourceFile[]): readonly string[] {
  return files.filter(({ text }) => DEFAULT_EXPORT.test(text)).map(({ path }) => path)
}

/** The files with a note of something left undone. */
export function leftovers(files: readonly SourceFile[]): readonly string[] {
  return files.filter(({ text }) => LEFTOVERS.test(text)).map(({ path }) => path)
}

function importBreach(path: string, specifier: string | undefined): string | undefined {
  const folder = folderOf(path)
  if (specifier === undefined) return `${path} imports something computed`
  if (specifier === 'bun:ffi') return folder === 'host' ? undefined : `${path} imports bun:ffi`
  if (!specifier.startsWith('.')) return undefined
  const target = posix.normalize(posix.join(posix.dirname(path), specifier))
  const inside = target.replace(/^src\//, '')
  if (inside === target) return `${path} imports ${target}, which is outside src`
  if (folderOf(target) === folder) return undefined
  const allowed = MAY_IMPORT[folder] ?? []
  return allowed.includes(folderOf(target)) || allowed.includes(inside) ? undefined : `${path} imports ${target}`
}

/** The first name below src: a folder, or a file at its top. */
function folderOf(path: string): string {
  return path.split('/')[1] ?? ''
}

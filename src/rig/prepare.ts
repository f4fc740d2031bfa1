/**
 * What the rig runs from, made once and kept in the cache: a private QEMU with its libraries, L1's kernel and
 * initramfs, a drive with Bun, and this program's own bundle.
 */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Progress, silentProgress } from '../base/progress.ts'
import { projectFile } from '../base/project.ts'
import { buildBunDisk } from './bun-disk.ts'
import { output, PackageFetcher } from './fetch.ts'
import { buildInitrd, extractKernel } from './l1-files.ts'
import { copyQemu, privateQemu } from './private-qemu.ts'
import { buildProgram, programKey } from './program.ts'
import type { MachineSpec, QemuProgram } from './qemu.ts'

/** guests/rig/recipe.json. */
export interface Recipe {
  readonly qemu: { readonly package: string; readonly binary: string }
  readonly tools: readonly string[]
  readonly kernel: string
  readonly modules: readonly string[]
  readonly params: string
}

/** Everything that a run needs. */
export interface Rig {
  readonly qemu: QemuProgram
  readonly machine: Omit<MachineSpec, 'memoryMiB' | 'cpus'>
  /** A cpio archive with this program. */
  readonly program: string
  /** Where saved machines are kept. */
  readonly stateFolder: string
}

/** How preparation talks. */
export interface PrepareOptions {
  readonly log: Log
  readonly progress?: Progress
}

/** Raised when the files of an entry change in kind. */
const LAYOUT = 1
const MIN_QEMU = [7, 2] as const

/** Makes what is missing; later calls only look. */
export async function prepareRig(options: PrepareOptions): Promise<Rig> {
  const recipe = JSON.parse(readFileSync(projectFile('guests/rig/recipe.json'), 'utf8')) as Recipe
  const init = readFileSync(projectFile('guests/rig/init'))
  const cache = join(cacheRoot(), 'rig')
  const key = createHash('sha256')
    .update(JSON.stringify([LAYOUT, recipe, Bun.version, Bun.revision]))
    .update(init)
  const entry = join(cache, `host-${key.digest('hex').slice(0, 16)}`)
  await once(entry, folder => buildEntry(folder, recipe, init, options))
  const program = join(cache, `program-${programKey()}.cpio`)
  await once(program, async path => writeFileSync(path, await buildProgram()), 'file')
  const chosen = process.env['BULKHEAD_QEMU']
  const qemu = chosen === undefined ? privateQemu(join(entry, 'qemu')) : await ownQemu(chosen)
  const machine = {
    kernel: join(entry, 'vmlinux'),
    initrd: join(entry, 'initrd'),
    params: recipe.params,
    bunDisk: join(entry, 'bun.ext4'),
  }
  return { qemu, machine, program, stateFolder: cache }
}

async function buildEntry(folder: string, recipe: Recipe, init: Uint8Array, options: PrepareOptions): Promise<void> {
  const progress = options.progress ?? silentProgress
  const fetcher = new PackageFetcher(join(folder, 'apt'))
  const unpacked = join(folder, 'unpacked')
  try {
    progress.step('the emulated host: package lists')
    await fetcher.update()
    const kernel = await fetcher.newest(recipe.kernel)
    progress.step('the emulated host: QEMU, 44 MB')
    await fetcher.unpackWithDependencies([recipe.qemu.package, ...recipe.tools], unpacked)
    progress.step('the emulated host: kernel, 34 MB')
    await fetcher.unpackAlone(kernel, unpacked)
    progress.step('the emulated host: putting it together')
    await copyQemu(unpacked, recipe.qemu.binary, join(folder, 'qemu'))
    await output([...privateQemu(join(folder, 'qemu')).command, '--version'])
    await buildBunDisk(unpacked, realpathSync(process.execPath), join(folder, 'bun.ext4'))
    writeFileSync(join(folder, 'vmlinux'), extractKernel(unpacked))
    writeFileSync(join(folder, 'initrd'), await buildInitrd(unpacked, recipe.modules, init))
  } finally {
    fetcher.dispose()
    rmSync(unpacked, { recursive: true, force: true })
    progress.end()
  }
}

/** Builds beside `path`, then renames: an interrupted build leaves no entry, and of two at once the first stays. */
async function once(path: string, build: (path: string) => Promise<void>, kind: 'file' | 'folder' = 'folder') {
  if (existsSync(path)) return
  const parent = join(path, '..')
  mkdirSync(parent, { recursive: true })
  const building = mkdtempSync(join(parent, `new-${process.pid}-`))
  const target = kind === 'file' ? join(building, basename(path)) : building
  try {
    await build(target)
    if (!existsSync(path)) renameSync(target, path)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
}

async function ownQemu(path: string): Promise<QemuProgram> {
  const version = /version (\d+)\.(\d+)/.exec(await output([path, '--version']))
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])]
  if (!(major > MIN_QEMU[0] || (major === MIN_QEMU[0] && minor >= MIN_QEMU[1])))
    throw new HostError(`${path} is no QEMU ${MIN_QEMU.join('.')} or later: unset BULKHEAD_QEMU to use a private one`)
  return { command: [path], env: {}, dataFolders: [] }
}

function cacheRoot(): string {
  const { BULKHEAD_CACHE, XDG_CACHE_HOME } = process.env
  return BULKHEAD_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'bulkhead')
}

/**
 * What the rig runs from, made once and kept in the cache: a private QEMU with its libraries, L1's kernel and
 * initramfs, a drive with Bun, and this program's own bundle.
 */
import { existsSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type Progress, terminalProgress } from '../base/progress.ts'
import { projectFile } from '../base/project.ts'
import { Apt } from '../packages/apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from '../packages/cache.ts'
import { runTool } from '../packages/tool.ts'
import { buildBunDisk } from './bun-disk.ts'
import { buildInitrd, extractKernel } from './l1-files.ts'
import { copyQemu, privateQemu } from './private-qemu.ts'
import { buildProgram, programKey } from './program.ts'
import type { MachineSpec, QemuProgram } from './qemu.ts'
import { markUsed, removeUnused } from './unused.ts'

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

const PROGRAM_FILE = 'program.cpio'

/** How preparation talks. */
export interface PrepareOptions {
  readonly log: Log
  readonly progress?: Progress
}

/** Raised when the same recipe and init make other files. */
const FORMAT = '3'
const MIN_QEMU = [7, 2] as const
const INSTEAD = 'the emulated host is made from Debian packages; use a host whose KVM runs Linux'

/** Makes what is missing; later calls only look. */
export async function prepareRig(options: PrepareOptions): Promise<Rig> {
  const { recipe, init, entry } = readSources()
  const folder = rigFolder()
  const host = await cacheEntry(folder, entry, async target => {
    removeUnused(folder, 'host-')
    await buildHost(target, recipe, init, options)
  })
  const program = await cacheEntry(folder, `program-${programKey()}`, async target => {
    removeUnused(folder, 'program-')
    writeFileSync(join(target, PROGRAM_FILE), await buildProgram())
  })
  for (const entry of [host, program]) markUsed(entry)
  const chosen = process.env['BULKHEAD_QEMU']
  const qemu = chosen === undefined ? privateQemu(join(host, 'qemu'), recipe.qemu.binary) : await ownQemu(chosen)
  const machine = {
    kernel: join(host, 'vmlinux'),
    initrd: join(host, 'initrd'),
    params: recipe.params,
    bunDisk: join(host, 'bun.ext4'),
  }
  return { qemu, machine, program: join(program, PROGRAM_FILE), stateFolder: folder }
}

/** Whether `prepareRig` has nothing to fetch. */
export function isRigPrepared(): boolean {
  return existsSync(join(rigFolder(), readSources().entry))
}

function rigFolder(): string {
  return join(cacheRoot(), 'rig')
}

/** What the emulated host is made from, and the name that this gives it in the cache. */
function readSources(): { recipe: Recipe; init: Uint8Array; entry: string } {
  const text = readFileSync(projectFile('guests/rig/recipe.json'), 'utf8')
  const init = readFileSync(projectFile('guests/rig/init'))
  const entry = `host-${cacheKey([FORMAT, text, init, Bun.version, Bun.revision])}`
  return { recipe: JSON.parse(text) as Recipe, init, entry }
}

async function buildHost(target: string, recipe: Recipe, init: Uint8Array, options: PrepareOptions): Promise<void> {
  const { log, progress = terminalProgress(process.stderr) } = options
  log.info('the emulated host is made from Debian packages on first use')
  const unpacked = join(target, 'unpacked')
  try {
    await Apt.with(join(cacheRoot(), 'apt'), progress, INSTEAD, async apt => {
      await apt.unpack(recipe.kernel, unpacked, { dependencies: false })
      for (const name of [recipe.qemu.package, ...recipe.tools])
        await apt.unpack(name, unpacked, { dependencies: true })
    })
    progress.step('making the emulated host')
    await copyQemu(unpacked, recipe.qemu.binary, join(target, 'qemu'))
    await runTool([...privateQemu(join(target, 'qemu'), recipe.qemu.binary).command, '--version'])
    await buildBunDisk(unpacked, realpathSync(process.execPath), join(target, 'bun.ext4'))
    writeFileSync(join(target, 'vmlinux'), extractKernel(unpacked))
    writeFileSync(join(target, 'initrd'), buildInitrd(unpacked, recipe.modules, init))
  } finally {
    rmSync(unpacked, { recursive: true, force: true })
    progress.end()
  }
}

async function ownQemu(path: string): Promise<QemuProgram> {
  const version = /version (\d+)\.(\d+)/.exec(await runTool([path, '--version']))
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])]
  if (!(major > MIN_QEMU[0] || (major === MIN_QEMU[0] && minor >= MIN_QEMU[1])))
    throw new HostError(`${path} is no QEMU ${MIN_QEMU.join('.')} or later: unset BULKHEAD_QEMU to use a private one`)
  return { command: [path], env: {}, dataFolders: [] }
}

/**
 * The default guest: a stock Debian kernel and busybox, put together from packages on first use and kept in the cache.
 * What is in it: guests/default/recipe.json and guests/default/init.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from '../base/log.ts'
import { type Progress, terminalProgress } from '../base/progress.ts'
import { requireVmlinux } from '../boot/payload.ts'
import { Apt } from '../packages/apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from '../packages/cache.ts'
import { readKernel } from '../packages/unpacked.ts'
import { defaultInitrd } from './initrd.ts'
import { type RecipeFiles, readRecipe } from './recipe.ts'

/** Raised when the files of an entry change in kind. */
const LAYOUT = '2'
const INSTEAD = 'pass --kernel and --initrd, which need no packages'

/** Files of the default guest, in the cache. */
export interface DefaultGuest {
  /** An ELF vmlinux: it starts sooner than the bzImage, which unpacks itself. */
  readonly kernel: string
  readonly bzImage: string
  readonly initrd: string
  /** Kernel parameters. */
  readonly params: string
  /** Kernel release, as `uname -r` prints it. */
  readonly release: string
}

/** How preparation talks. */
export interface PrepareOptions {
  readonly log: Log
  /** Absent: on standard error when that is a terminal. */
  readonly progress?: Progress
}

/**
 * Makes the default guest unless it is there. Throws `HostError` when packages cannot be had.
 *
 * @example const { kernel, initrd, params } = await prepareDefaultGuest({ log: new Log('warning') })
 */
export async function prepareDefaultGuest(options: PrepareOptions): Promise<DefaultGuest> {
  const files = readRecipe()
  const entry = await cacheEntry(cacheRoot(), entryName(files), folder => build(folder, files, options))
  return {
    kernel: join(entry, 'vmlinux'),
    bzImage: join(entry, 'bzImage'),
    initrd: join(entry, 'initrd'),
    params: files.recipe.params,
    release: readFileSync(join(entry, 'release'), 'utf8'),
  }
}

/** Whether `prepareDefaultGuest` has nothing to make. */
export function isDefaultGuestPrepared(): boolean {
  return existsSync(join(cacheRoot(), entryName(readRecipe())))
}

function entryName({ text, init }: RecipeFiles): string {
  return `guest-${cacheKey([LAYOUT, text, init])}`
}

async function build(folder: string, { recipe, init }: RecipeFiles, options: PrepareOptions): Promise<void> {
  const progress = options.progress ?? terminalProgress(process.stderr)
  options.log.info('preparing the default guest from Debian packages')
  const unpacked = join(folder, 'unpacked')
  await Apt.with(join(cacheRoot(), 'apt'), progress, INSTEAD, async apt => {
    for (const name of [recipe.kernel, ...recipe.packages]) await apt.unpack(name, unpacked, { dependencies: false })
  })
  const { release, bzImage } = readKernel(unpacked)
  writeFileSync(join(folder, 'vmlinux'), requireVmlinux(bzImage, release))
  writeFileSync(join(folder, 'bzImage'), bzImage)
  writeFileSync(join(folder, 'initrd'), defaultInitrd(unpacked, release, recipe, init))
  writeFileSync(join(folder, 'release'), release)
  rmSync(unpacked, { recursive: true, force: true })
}

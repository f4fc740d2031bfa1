/**
 * Programs out of unpacked packages, with the libraries they load and the loader that runs them: they need nothing of
 * the system and change nothing in it.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { type Progress, terminalProgress } from '../base/progress.ts'
import { Apt } from './apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from './cache.ts'
import { runTool } from './tool.ts'

const LIBRARY_FOLDERS = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'] as const
export const LOADER = 'ld-linux-x86-64.so.2'
/** Raised when the same request makes other files. */
const FORMAT = '1'

/** A program of a Debian package. */
export interface PackagedProgram {
  readonly package: string
  /** Its path in the package, without the leading slash. */
  readonly path: string
}

/**
 * A script that runs `program`, fetched on first use and kept in the cache. It stands in a folder of its own with
 * everything the program loads, so the folder can be copied elsewhere (`moveable` in what it says of itself: the
 * script finds its folder by its own path).
 *
 * @example await privateProgram({ package: 'passt', path: 'usr/bin/passt' }, 'use -n tap')
 */
export async function privateProgram(
  program: PackagedProgram,
  instead: string,
  progress: Progress = terminalProgress(process.stderr),
): Promise<string> {
  const entry = await cacheEntry(cacheRoot(), entryName(program), folder => build(folder, program, instead, progress))
  return join(entry, basename(program.path))
}

/** Whether `privateProgram` has nothing to fetch. */
export function isProgramPrepared(program: PackagedProgram): boolean {
  return existsSync(join(cacheRoot(), entryName(program)))
}

function entryName(program: PackagedProgram): string {
  return `${basename(program.path)}-${cacheKey([FORMAT, JSON.stringify(program)])}`
}

async function build(folder: string, program: PackagedProgram, instead: string, progress: Progress): Promise<void> {
  const unpacked = join(folder, 'unpacked')
  await Apt.with(join(cacheRoot(), 'apt'), progress, instead, async apt => {
    await apt.unpack(program.package, unpacked, { dependencies: true })
  })
  await copyProgram(unpacked, program.path, folder)
  rmSync(unpacked, { recursive: true, force: true })
}

/** Copies a program with loader and libraries to `target`, and writes a script of its name that runs it. */
export async function copyProgram(unpacked: string, path: string, target: string): Promise<void> {
  const source = join(unpacked, path)
  if (!existsSync(source)) throw new HostError(`the package that was fetched has no ${path}`)
  const name = basename(path)
  mkdirSync(join(target, 'lib'), { recursive: true })
  copyFileSync(realpathSync(source), join(target, 'lib', name))
  copyFileSync(join(unpacked, LIBRARY_FOLDERS[0], LOADER), join(target, 'lib', LOADER))
  for (const library of await libraries(unpacked, source))
    copyFileSync(realpathSync(library), join(target, 'lib', basename(library)))
  const script = join(target, name)
  writeFileSync(
    script,
    `#!/bin/sh\nlib="\${0%/*}/lib"\nexec "$lib/${LOADER}" --library-path "$lib" "$lib/${name}" "$@"\n`,
  )
  chmodSync(script, 0o755)
}

/** A program out of the unpacked packages, with their libraries, as a command. */
export function unpackedCommand(unpacked: string, path: string): string[] {
  const folders = LIBRARY_FOLDERS.map(folder => join(unpacked, folder))
  return privateCommand(join(unpacked, LIBRARY_FOLDERS[0], LOADER), folders, join(unpacked, path))
}

/** The command that runs `program` by a loader of its own with libraries from `folders`. */
export function privateCommand(loader: string, folders: readonly string[], program: string): string[] {
  return [loader, '--library-path', folders.join(':'), program]
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

/**
 * This program as L1 gets it: the command line and the Workers as bundles, and the data files under their own paths
 * (src/base/project.ts finds them both ways), in a cpio archive. Made anew when a source file changes.
 */
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { HostError } from '../base/errors.ts'
import { projectFile } from '../base/project.ts'
import { cacheKey } from '../packages/cache.ts'
import { CpioBuilder } from '../packages/cpio.ts'

/** What the program reads at run time, besides its code. */
const DATA_FILES = ['package.json', 'firmware/*.aml', 'guests/**/*']
const ENTRY_POINTS = ['src/cli.ts', 'src/machine/*-worker.ts']

/** Names the archive that the present sources give. */
export function programKey(): string {
  const parts = projectFiles(['src/**/*.ts', ...DATA_FILES]).flatMap(path => [path, readFileSync(projectFile(path))])
  return cacheKey([Bun.version, ...parts])
}

/** The archive: `cli.js`, `*-worker.js` and data files at its top. */
export async function buildProgram(): Promise<Uint8Array> {
  const result = await Bun.build({
    entrypoints: projectFiles(ENTRY_POINTS).map(projectFile),
    target: 'bun',
    // All in one folder: src/base/project.ts looks from whichever piece it is in.
    naming: { entry: '[name].js', chunk: '[name]-[hash].js' },
    // Parsing is what costs under emulation: short text, and only the pieces that the command at hand imports.
    minify: true,
    splitting: true,
    throw: false,
  })
  if (!result.success)
    throw new HostError(`the program could not be bundled for the rig:\n${result.logs.map(String).join('\n')}`)
  const archive = new CpioBuilder()
  for (const output of result.outputs) archive.file(basename(output.path), new Uint8Array(await output.arrayBuffer()))
  for (const path of projectFiles(DATA_FILES)) archive.file(path, readFileSync(projectFile(path)))
  return archive.build()
}

/** Project files that match, sorted so that the same tree gives the same key. */
function projectFiles(patterns: readonly string[]): string[] {
  const top = projectFile('.')
  return patterns
    .flatMap(pattern => [...new Bun.Glob(pattern).scanSync({ cwd: top })].sort())
    .map(path => join('.', path))
}

/**
 * Where the project's own files are. The program runs from the source tree, or as a bundle (rig) of `cli.js`, the
 * Workers' `*.js` beside it, and the data files under their own paths.
 */

const IS_SOURCE = import.meta.url.endsWith('.ts')
const ROOT = IS_SOURCE ? new URL('../../', import.meta.url) : new URL('./', import.meta.url)

/** Path of a data file, given relative to the top of the project: `projectFile('firmware/dsdt.aml')`. */
export function projectFile(path: string): string {
  return new URL(path, ROOT).pathname
}

/** URL of a Worker of src/machine, by its file's name without ending. */
export function workerUrl(name: string): URL {
  return IS_SOURCE ? new URL(`src/machine/${name}.ts`, ROOT) : new URL(`${name}.js`, ROOT)
}

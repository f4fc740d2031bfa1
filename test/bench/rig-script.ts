/** A shell script in an emulated host with a KVM of its own, for benchmarks of Linux guests: what it writes, at its end. */
import { BadInput, HostError } from '../../src/base/errors.ts'
import { Log } from '../../src/base/log.ts'
import { type RigOptions, startProgram } from '../../src/rig/rig.ts'
import { Skip } from './c-program.ts'

/** Preparations say nothing, unless they fail. */
export const QUIET = new Log('error')

/** Runs what `script` makes of the paths of the files; throws unless it ends with status 0. */
export async function runRigScript(
  script: (paths: readonly string[]) => string,
  options: Omit<RigOptions, 'log'>,
): Promise<string> {
  const run = await startProgram(paths => ['sh', '-c', script(paths)], 'pipes', { ...options, log: QUIET })
  try {
    await run.stdin(null)
    const [output, errors] = await Promise.all([text(run.stdout), text(run.stderr)])
    const status = await run.exit
    if (status !== 0) throw new Error(`the benchmark's script ended with status ${status}: ${errors.trim()}`)
    if (errors !== '') console.error(errors.trimEnd())
    return output
  } finally {
    await run.kill()
  }
}

/** What cannot be fetched or made here is no failure of the benchmark. */
export async function orSkip<T>(prepare: () => Promise<T>): Promise<T> {
  try {
    return await prepare()
  } catch (error) {
    if (error instanceof HostError || error instanceof BadInput) throw new Skip(error.message)
    throw error
  }
}

/** The end of a run's output, to show why it is of no use. */
export function lastLines(output: string): string {
  return output.trimEnd().split('\n').slice(-10).join('\n')
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of stream) parts.push(bytes)
  return Buffer.concat(parts).toString()
}

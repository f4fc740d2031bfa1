/** Runs the host's programs (apt-get, dpkg-deb, xz): output in, one clear error out. */
import { spawn, spawnSync } from 'node:child_process'
import { HostError } from '../base/errors.ts'

const MAX_OUTPUT = 256 << 20
const ERROR_LINES = 3

/** How to run a program. */
export interface ToolOptions {
  readonly cwd?: string
  /** What the user can do when the program is not installed: a clause that ends the sentence. */
  readonly instead?: string
}

/** Runs `command` and gives its standard output; a `HostError` with its last words if it fails. */
export async function runTool(command: readonly string[], options: ToolOptions = {}): Promise<string> {
  const [program = '', ...args] = command
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: toolEnvironment(),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', error => reject(startFailure(program, error, options)))
    child.once('close', resolve)
  })
  if (status !== 0) throw failure(program, args, status, Buffer.concat(errors).toString())
  return Buffer.concat(output).toString()
}

/** Like `runTool`, at once and for bytes. */
export function readFromTool(command: readonly string[], options: ToolOptions = {}): Uint8Array {
  const [program = '', ...args] = command
  const result = spawnSync(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: toolEnvironment(),
    maxBuffer: MAX_OUTPUT,
  })
  if (result.error !== undefined) throw startFailure(program, result.error, options)
  if (result.status !== 0) throw failure(program, args, result.status, result.stderr.toString())
  return result.stdout
}

/** The tools' messages and sorting must not depend on the user's language. */
function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C.UTF-8', LANGUAGE: '' }
}

function startFailure(program: string, cause: Error, { instead }: ToolOptions): HostError {
  if (!('code' in cause) || cause.code !== 'ENOENT')
    return new HostError(`${program} cannot be started: ${cause.message}`, { cause })
  const advice = instead === undefined ? 'install it' : instead
  return new HostError(`${program} is not installed: ${advice}.`, { cause })
}

function failure(program: string, args: readonly string[], status: number | null, errors: string): HostError {
  const words = errors.trim().split('\n').slice(-ERROR_LINES).join(' ')
  const verb = args.find(arg => /^[a-z]/.test(arg)) ?? ''
  return new HostError(`${program} ${verb} failed with status ${status ?? 'of a signal'}: ${words || 'no message'}`)
}

/**
 * Debian packages without root: apt with a state of its own and an empty list of installed packages, so that a
 * package comes with everything it needs; apt verifies what it fetches. Sources, keys and proxies are the system's.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'

/** Fetches and unpacks packages; what it downloads goes away with `dispose`. */
export class PackageFetcher {
  readonly #options: readonly string[]
  readonly #archives: string

  constructor(private readonly folder: string) {
    this.#archives = join(folder, 'cache/archives')
    for (const path of ['state/lists/partial', 'cache/archives/partial'])
      mkdirSync(join(folder, path), { recursive: true })
    writeFileSync(join(folder, 'status'), '')
    this.#options = [
      `Dir::State=${join(folder, 'state')}`,
      `Dir::State::status=${join(folder, 'status')}`,
      `Dir::Cache=${join(folder, 'cache')}`,
      'Debug::NoLocking=1',
      'APT::Sandbox::User=',
      // Kernels want an initramfs made at installation, which is none of ours.
      'APT::Install-Recommends=0',
    ].flatMap(option => ['-o', option])
  }

  /** Fetches the package lists. */
  async update(): Promise<void> {
    await this.#run('apt-get', ['update', '-q'])
  }

  /** The newest package name that matches `pattern`, with `*` for any run of characters. */
  async newest(pattern: string): Promise<string> {
    const names = (await this.#run('apt-cache', ['pkgnames', pattern.split('*')[0] as string])).split('\n')
    const glob = new Bun.Glob(pattern)
    const matching = names.filter(name => glob.match(name)).sort(Intl.Collator('en', { numeric: true }).compare)
    const name = matching.at(-1)
    if (name === undefined) throw new HostError(`apt knows no package ${pattern}: check the system's package sources`)
    return name
  }

  /** Unpacks `names` and all that they depend on into `target`. */
  async unpackWithDependencies(names: readonly string[], target: string): Promise<void> {
    await this.#run('apt-get', ['install', '-y', '-q', '--download-only', ...names])
    await this.#unpack(target, () => true)
  }

  /** Unpacks just the package `name` into `target`. */
  async unpackAlone(name: string, target: string): Promise<void> {
    // `download` writes into the working folder and asks for no dependencies.
    await this.#run('apt-get', ['download', '-q', name], this.#archives)
    await this.#unpack(target, file => file.startsWith(`${name}_`))
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #unpack(target: string, wanted: (file: string) => boolean): Promise<void> {
    mkdirSync(target, { recursive: true })
    for (const file of readdirSync(this.#archives))
      if (file.endsWith('.deb') && wanted(file)) await output(['dpkg-deb', '-x', join(this.#archives, file), target])
  }

  #run(program: string, args: readonly string[], cwd = this.folder): Promise<string> {
    return output([program, ...this.#options, ...args], {}, cwd)
  }
}

/** Runs a program and gives its standard output; a `HostError` with its last words if it fails. */
export async function output(
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd?: string,
): Promise<string> {
  const [program = '', ...args] = command
  if (!program.includes('/') && Bun.which(program) === null)
    throw new HostError(`the emulated host is made from Debian packages and needs ${program}, which is not here`)
  if (program.includes('/') && !existsSync(program)) throw new HostError(`${program} is missing`)
  const child = spawn(program, args, {
    env: { ...process.env, LC_ALL: 'C', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  const out: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (status === 0) return Buffer.concat(out).toString()
  const words = Buffer.concat(errors).toString().trim().split('\n').slice(-3).join('\n')
  throw new HostError(`${program} ${args.at(-1) ?? ''} failed with status ${status}: ${words}`)
}

/**
 * Debian packages without root: apt with a state of its own in the cache and an empty list of installed packages, so
 * that a package comes with all it depends on. Sources, keys, proxies and pins are the system's; apt verifies what it
 * fetches. Downloads stay in the cache: the default guest and the rig share a kernel package.
 */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'
import type { Progress } from '../base/progress.ts'
import { makeCacheFolder } from './cache.ts'
import { withLock } from './lock.ts'
import { runTool } from './tool.ts'
import { compareVersions } from './version.ts'

const PROGRESS_POLL_MS = 200

/** A package file that apt will fetch. */
interface Download {
  readonly file: string
  readonly sizeBytes: number
}

/** apt on its own state, for one process at a time: see `Apt.with`. */
export class Apt {
  private readonly archives: string

  private constructor(
    private readonly folder: string,
    private readonly progress: Progress,
    private readonly instead: string,
  ) {
    this.archives = join(folder, 'cache/archives')
  }

  /**
   * Calls `use` with the state at `folder`, which is made when it is not there. `instead` says what to do where there
   * is no apt. Throws `HostError`.
   */
  static async with<T>(folder: string, progress: Progress, instead: string, use: (apt: Apt) => Promise<T>): Promise<T> {
    makeCacheFolder(folder)
    for (const path of ['state/lists/partial', 'cache/archives/partial'])
      mkdirSync(join(folder, path), { recursive: true })
    const status = join(folder, 'status')
    if (!existsSync(status)) writeFileSync(status, '')
    const onWait = () => progress.step('waiting for another bulkhead that fetches packages')
    try {
      return await withLock(join(folder, 'lock'), () => use(new Apt(folder, progress, instead)), onWait)
    } finally {
      progress.end()
    }
  }

  /**
   * Fetches a package by pattern (`*` for any run of characters; the newest match) and, if asked, all that it depends
   * on, and unpacks into `target`. Returns the name of the package.
   */
  async unpack(pattern: string, target: string, options: { readonly dependencies: boolean }): Promise<string> {
    try {
      return await this.tryUnpack(pattern, target, options.dependencies)
    } catch {
      // Without lists, or with old ones that name files which are gone.
      this.progress.step('package lists')
      await this.run('apt-get', ['update', '-q'])
      return await this.tryUnpack(pattern, target, options.dependencies)
    }
  }

  private async tryUnpack(pattern: string, target: string, dependencies: boolean): Promise<string> {
    const name = await this.newest(pattern)
    const all = ['install', '-y', '-q', '--download-only', '--no-install-recommends', name]
    const downloads = await this.downloads(dependencies ? all : ['download', '-q', name])
    await this.withProgress(name, downloads, () =>
      // `download` asks for no dependencies and writes into the working folder.
      dependencies ? this.run('apt-get', all) : this.run('apt-get', ['download', '-q', name], this.archives),
    )
    mkdirSync(target, { recursive: true })
    const files = dependencies ? await this.closureFiles(name) : await this.ownFiles(name)
    for (const file of files)
      await runTool(['dpkg-deb', '-x', join(this.archives, file), target], { instead: this.instead })
    return name
  }

  private async newest(pattern: string): Promise<string> {
    const known = await this.run('apt-cache', ['pkgnames', pattern.split('*')[0] ?? ''])
    const glob = new Bun.Glob(pattern)
    const matching = known.split('\n').filter(name => glob.match(name))
    // Kernels carry their version in the name, so names of one pattern sort as versions do.
    const name = matching.sort(compareVersions).at(-1)
    if (name === undefined) throw new HostError(`apt knows no package ${pattern}: check the system's package sources`)
    return name
  }

  /** What a command would fetch now, with sizes: apt prints `'URI' FILE SIZE HASH`. */
  private async downloads(words: readonly string[]): Promise<readonly Download[]> {
    const lines = (await this.run('apt-get', ['--print-uris', '-qq', ...words])).split('\n')
    return lines
      .map(line => /^'[^']*' (\S+) (\d+)/.exec(line))
      .filter(match => match !== null)
      .map(match => ({ file: match[1] as string, sizeBytes: Number(match[2]) }))
  }

  private async withProgress(
    name: string,
    downloads: readonly Download[],
    fetch: () => Promise<unknown>,
  ): Promise<void> {
    const total = downloads.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    if (total > 0) this.progress.step(name, total)
    const timer = setInterval(() => this.progress.update(this.fetched(downloads)), PROGRESS_POLL_MS)
    try {
      await fetch()
    } finally {
      clearInterval(timer)
    }
  }

  private fetched(downloads: readonly Download[]): number {
    const sizes = downloads.map(({ file }) => {
      const whole = statSync(join(this.archives, file), { throwIfNoEntry: false })
      return (whole ?? statSync(join(this.archives, 'partial', file), { throwIfNoEntry: false }))?.size ?? 0
    })
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /** The archive of the newest version of `name` alone. */
  private async ownFiles(name: string): Promise<readonly string[]> {
    const version = /^Version: (.*)$/m.exec(await this.run('apt-cache', ['show', '--no-all-versions', name]))?.[1] ?? ''
    const prefix = `${name}_${version.replaceAll(':', '%3a')}_`
    const file = readdirSync(this.archives).find(candidate => candidate.startsWith(prefix))
    if (file === undefined) throw new HostError(`apt did not fetch ${name} ${version}`)
    return [file]
  }

  /** The archives of `name` and its dependencies, by a simulated installation. */
  private async closureFiles(name: string): Promise<readonly string[]> {
    const simulated = await this.run('apt-get', ['install', '-s', '-q', '--no-install-recommends', name])
    const packages = [...simulated.matchAll(/^Inst (\S+) \((\S+) /gm)].map(match => ({
      name: (match[1] as string).replace(/:.*/, ''),
      version: (match[2] as string).replaceAll(':', '%3a'),
    }))
    const files = readdirSync(this.archives)
    return packages.map(wanted => {
      const file = files.find(candidate => candidate.startsWith(`${wanted.name}_${wanted.version}_`))
      if (file === undefined) throw new HostError(`apt did not fetch ${wanted.name} ${wanted.version}`)
      return file
    })
  }

  private run(program: string, args: readonly string[], cwd = this.folder): Promise<string> {
    const options = [
      `Dir::State=${join(this.folder, 'state')}`,
      `Dir::State::status=${join(this.folder, 'status')}`,
      `Dir::Cache=${join(this.folder, 'cache')}`,
      // Our lock is the one that counts; apt's own are the system's and may belong to root.
      'Debug::NoLocking=1',
      'APT::Sandbox::User=',
    ]
    return runTool([program, ...options.flatMap(option => ['-o', option]), ...args], { cwd, instead: this.instead })
  }
}

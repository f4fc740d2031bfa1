/** The C side of a benchmark: a source in this folder, compiled when the benchmark runs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Thrown when a benchmark cannot run here; `message` says why. */
export class Skip extends Error {
  override readonly name = 'Skip'
}

/** A folder for compiled programs and guest images, gone with the object. */
export class Workshop {
  private readonly folder = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))

  /** Path of a file to be written here. */
  path(name: string): string {
    return join(this.folder, name)
  }

  /** Compiles test/bench/`name`.c; throws `Skip` without a compiler. */
  compile(name: string): string {
    const gcc = Bun.which('gcc')
    if (gcc === null) throw new Skip('the C baseline needs gcc (apt install gcc libc6-dev)')
    const program = this.path(name)
    const source = new URL(`${name}.c`, import.meta.url).pathname
    const { exitCode, stderr } = Bun.spawnSync([gcc, '-O2', '-Wall', '-o', program, source])
    if (exitCode !== 0) throw new Skip(`gcc does not compile ${name}.c: ${stderr.toString().trim()}`)
    return program
  }

  async write(name: string, bytes: Uint8Array): Promise<string> {
    await Bun.write(this.path(name), bytes)
    return this.path(name)
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A named pipe in a folder of its own. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Removed when disposed. */
export class NamedPipe implements Disposable {
  readonly path: string
  private readonly folder = mkdtempSync(join(tmpdir(), 'bulkhead-pipe-'))

  constructor() {
    this.path = join(this.folder, 'pipe')
    if (spawnSync('mkfifo', [this.path]).status !== 0) throw new Error('mkfifo failed')
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true })
  }
}

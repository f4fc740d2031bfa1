/**
 * A lock between processes of one machine: a file that names its owner. The owner's death frees it: a lock whose process
 * is gone is taken over. Work under the lock must still survive a rare second owner (build aside, then rename), because
 * processes in different PID namespaces do not see each other.
 */
import { linkSync, mkdtempSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const POLL_MS = 100

/** Runs `action` while holding the lock file `path`. `onWait` is called once if another process has it. */
export async function withLock<T>(path: string, action: () => Promise<T>, onWait: () => void = () => {}): Promise<T> {
  let waiting = false
  for (let mine = tryLock(path); ; mine = tryLock(path)) {
    if (mine !== undefined) {
      try {
        return await action()
      } finally {
        if (readIfThere(path) === mine) rmSync(path, { force: true })
      }
    }
    if (!waiting) onWait()
    waiting = true
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

/** Whether process `pid` runs. */
export function isAlive(pid: number): boolean {
  return startTime(pid) !== undefined
}

/** Takes the lock and gives our mark in it; undefined if its owner lives. */
function tryLock(path: string): string | undefined {
  // The random part keeps two locks of one process apart.
  const mine = `${process.pid} ${startTime(process.pid)} ${crypto.randomUUID()}\n`
  const folder = mkdtempSync(join(dirname(path), '.lock-'))
  const ours = join(folder, 'lock')
  try {
    writeFileSync(ours, mine)
    // A link appears with its contents, so nobody ever reads an empty lock.
    if (tryLink(ours, path)) return mine
    const owner = readIfThere(path)
    if (owner === undefined || isHeld(owner)) return undefined
    removeStale(path, owner, join(folder, 'stale'))
    return tryLink(ours, path) ? mine : undefined
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Removes the lock that `owner` left, unless someone was faster. */
function removeStale(path: string, owner: string, aside: string): void {
  try {
    renameSync(path, aside)
  } catch (error) {
    if (isMissing(error)) return
    throw error
  }
  // Between our reading and our renaming another process may have replaced the stale lock by its own: give it back.
  if (readFileSync(aside, 'utf8') !== owner) tryLink(aside, path)
  unlinkSync(aside)
}

function isHeld(owner: string): boolean {
  const [pid = '', started = ''] = owner.split(' ')
  return startTime(Number(pid)) === started
}

/** A process's start in clock ticks since boot: tells a process from a later one with the same id. */
function startTime(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${pid}/stat`)
  // The name, in parentheses, may hold spaces; field 22 is the 20th after it.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

function isMissing(error: unknown): boolean {
  // ESRCH: the process ended between the open and the read of its stat.
  return codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH'
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

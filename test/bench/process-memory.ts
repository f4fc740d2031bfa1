/** What a process and those that it started have in memory, from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Resident MiB of `pid` and its descendants, by program name, without shared memory: guest RAM is a memfd, in our
 * process and in an emulator of ours alike.
 */
export function processTree(pid: number): ReadonlyMap<string, number> {
  const parents = new Map(processes().map(each => [each, parentOf(each)]))
  const tree = [...parents.keys()].filter(each => descends(each, pid, parents))
  const sizes = new Map<string, number>()
  for (const each of tree) {
    const { name, mib } = memoryOf(each)
    if (mib > 0) sizes.set(name, (sizes.get(name) ?? 0) + mib)
  }
  return sizes
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name))
    .map(Number)
}

function descends(pid: number, ancestor: number, parents: ReadonlyMap<number, number>): boolean {
  for (let each: number | undefined = pid; each !== undefined && each !== 0; each = parents.get(each))
    if (each === ancestor) return true
  return false
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(statusOf(pid))?.[1] ?? 0)
}

function memoryOf(pid: number): { name: string; mib: number } {
  const status = statusOf(pid)
  const kib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
  return { name: /^Name:\s+(.+)$/m.exec(status)?.[1] ?? '', mib: (kib('RssAnon') + kib('RssFile')) / 1024 }
}

/** Empty for a process that has ended meanwhile. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

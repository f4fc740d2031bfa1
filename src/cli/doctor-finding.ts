/** What `bulkhead doctor` finds, and where it looks. */
import { accessSync, closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs'

/** `missing`: something cannot be done here; `advice`: it can, but not everything, or not yet. */
export type FindingState = 'ok' | 'advice' | 'missing'

/** One line of what the host can do. */
export interface Finding {
  /** Short and fixed: a program may look for it. */
  readonly name: string
  readonly state: FindingState
  /** What is there, and what to do about what is not; a clause. */
  readonly text: string
}

/** Where the host's file systems are. */
export interface HostFolders {
  readonly sysfs: string
  readonly proc: string
  readonly dev: string
  /** Of the running kernel. */
  readonly modules: string
}

export function ok(name: string, text: string): Finding {
  return { name, state: 'ok', text }
}

export function advice(name: string, text: string): Finding {
  return { name, state: 'advice', text }
}

export function missing(name: string, text: string): Finding {
  return { name, state: 'missing', text }
}

/** The text of a file; empty where it cannot be read. */
export function textOf(path: string): string {
  return attempt(() => readFileSync(path, 'utf8').trim()) ?? ''
}

/** The names in a folder; none where there is no such folder. */
export function namesIn(folder: string): readonly string[] {
  return attempt(() => readdirSync(folder).sort()) ?? []
}

/** Why `path` cannot be opened with `flags`, as the code of an errno; undefined when it can. */
export function openRefusal(path: string, flags: number): string | undefined {
  return refusal(() => closeSync(openSync(path, flags)))
}

/** As `openRefusal` for reading and writing, for what must not be opened just to see. */
export function accessRefusal(path: string): string | undefined {
  return refusal(() => accessSync(path, constants.R_OK | constants.W_OK))
}

/** Whether this process has a capability (linux/capability.h). */
export function hasCapability(number: number, { proc }: HostFolders): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(textOf(`${proc}/self/status`))?.[1] ?? '0'
  return ((BigInt(`0x${effective}`) >> BigInt(number)) & 1n) === 1n
}

function refusal(look: () => void): string | undefined {
  try {
    look()
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

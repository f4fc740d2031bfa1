/** What a refused command line must come to: status 2, one sentence, nothing else. */
import { expect } from 'vitest'
import { type CliOptions, Place } from './bulkhead.ts'

/** No program is found there, so that nothing can be fetched by mistake. */
export const NO_PROGRAMS = { PATH: '/nowhere' } as const

/** The end of a command line that should be refused, and what it left behind. */
export interface Refused {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  readonly left: readonly string[]
}

/** Runs a command line in a place of its own, with an empty cache and where no programs are to be found. */
export async function tryCommand(args: readonly string[], options: CliOptions = {}): Promise<Refused> {
  using place = new Place({ ownCache: true })
  const env = { ...NO_PROGRAMS, ...options.env }
  const { status, stdout, stderr } = await place.bulkhead(args, { ...options, env })
  return { status, stdout, stderr, left: place.leftovers() }
}

/** The refusal whose one line holds `phrase`. */
export function refusalWith(phrase: string): Refused {
  return { status: 2, stdout: '', stderr: lineWith(phrase), left: [] }
}

/** Matches one line of ours that holds `phrase`. */
export function lineWith(phrase: string): string {
  const escaped = phrase.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')
  return expect.stringMatching(new RegExp(`^bulkhead: [^\\n]*${escaped}[^\\n]*\\n$`)) as string
}

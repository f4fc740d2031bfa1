/** What a path of the command line leads to. */
import { type Stats, statSync } from 'node:fs'

/** Undefined: there is nothing for this user, for whatever reason; a path may be no path at all. */
export function pathStatus(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

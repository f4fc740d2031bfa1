/** Names of cache entries. */
import { createHash } from 'node:crypto'

/** A short name for everything that `parts` say, in their order. */
export function hashKey(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  // The length keeps ['ab', 'c'] and ['a', 'bc'] apart.
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex').slice(0, 16)
}

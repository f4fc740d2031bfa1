/** Tests that a host cannot run: skipped with a reason that is printed, never silently. */
import { describe } from 'vitest'

/**
 * `describe` where `reason` is undefined; elsewhere a skipped block, and the reason on standard error.
 *
 * @example describeUnless(missingCompiler(), 'uapi', () => { it('...', () => {}) })
 */
export function describeUnless(reason: string | undefined, name: string, tests: () => void): void {
  if (reason === undefined) {
    describe(name, tests)
    return
  }
  process.stderr.write(`skipped: ${name}: ${reason}\n`)
  describe.skip(`${name} (${reason})`, tests)
}

/** Runs the command line as a user without rights: only root can take that role. */
import { spawnSync } from 'node:child_process'

const NOBODY = '65534'
const SETPRIV = ['/usr/bin/setpriv', '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--'] as const

/** Words that start a program as nobody. */
export const AS_NOBODY: readonly string[] = SETPRIV

/** Why that cannot be done here, or is no different from what the tests do anyway. */
export function missingNobody(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can become another user'
  const [program, ...words] = SETPRIV
  // The program must also be readable to that user: a home folder of root's own is not.
  const { status } = spawnSync(program, [...words, process.execPath, '--version'])
  return status === 0 ? undefined : `setpriv cannot start ${process.execPath} as nobody`
}

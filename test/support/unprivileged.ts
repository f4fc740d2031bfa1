/** Runs the command line as a user without rights: only root can take that role. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const NOBODY = '65534'

/** Words that start a program as nobody. */
export const AS_NOBODY = ['/usr/bin/setpriv', '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--'] as const

/** Why that cannot be done here. */
export function missingNobody(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can become another user'
  // A project in a home folder of root's own is out of reach for others.
  return runsAsNobody(process.execPath, '--version') ? undefined : `nobody cannot start ${process.execPath}`
}

/** Why nobody is not kept from /dev/kvm here. */
export function missingClosedKvm(): string | undefined {
  if (!existsSync('/dev/kvm')) return 'there is no /dev/kvm'
  return missingNobody() ?? (runsAsNobody('/bin/sh', '-c', ': <>/dev/kvm') ? 'anyone may open /dev/kvm' : undefined)
}

function runsAsNobody(...command: readonly string[]): boolean {
  const [setpriv, ...words] = AS_NOBODY
  return spawnSync(setpriv, [...words, ...command]).status === 0
}

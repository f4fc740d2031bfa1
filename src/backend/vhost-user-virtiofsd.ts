/**
 * The command lines of virtiofsd, the program that serves a directory as FUSE over vhost-user. Options that both the
 * one of QEMU (up to 7.2, Debian's qemu-system-common) and its successor in Rust understand.
 *
 * Its sandbox makes the directory its root, best in namespaces of its own. Those need rights that a user without
 * privileges has in a new user namespace, where files of other users look like nobody's. In containers that forbid
 * namespaces, root can still chroot.
 */
import { realpathSync } from 'node:fs'
import { basename } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { LISTENER_FD } from './vhost-user-program.ts'
import { isExecutable, systemVirtiofsd } from './virtiofsd-path.ts'

/** What to serve. */
export interface VirtiofsdOptions {
  /** An absolute path. */
  readonly folder: string
  readonly readOnly: boolean
  /** The program; absent: where it usually is. */
  readonly program?: string
}

/** Ways to start it, the best first. */
export function virtiofsdCommands(options: VirtiofsdOptions): readonly (readonly string[])[] {
  const program = findVirtiofsd(options.program)
  const asRoot = process.geteuid?.() === 0
  // setpriv comes last: a new user namespace, or new rights, would cancel the signal.
  const setpriv = findSetpriv()
  const guard = setpriv === null ? [] : [setpriv, '--pdeathsig', 'KILL', '--']
  const unshare = asRoot ? [] : ['--map-root-user']
  const namespaces = options.readOnly ? [...unshare, '--mount'] : unshare
  const outer = namespaces.length === 0 ? [] : ['unshare', ...namespaces, '--']
  const bind = options.readOnly ? readOnlyBind(options.folder) : []
  return ['namespace', 'chroot'].map(sandbox => [
    ...outer,
    ...bind,
    ...guard,
    program,
    '-f',
    `--fd=${LISTENER_FD}`,
    ...['-o', `source=${escapeOption(options.folder)}`],
    ...['-o', 'cache=auto', '-o', `sandbox=${sandbox}`, '-o', 'log_level=warn'],
  ])
}

/**
 * QEMU's virtiofsd cannot refuse writes itself, so it is given a read-only mount, which nobody else sees and which ends
 * with it. Mounts below the directory are left out, as they would stay writable.
 */
function readOnlyBind(folder: string): string[] {
  const script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
  return ['/bin/sh', '-c', script, 'sh', folder]
}

/** setpriv(1) of util-linux: BusyBox's knows no signal for a parent's death. */
function findSetpriv(): string | null {
  const path = Bun.which('setpriv')
  return path === null || basename(realpathSync(path)) === 'busybox' ? null : path
}

function findVirtiofsd(program: string | undefined): string {
  const place = program ?? systemVirtiofsd()
  if (place === undefined)
    throw new BadInput('sharing a directory needs virtiofsd: install qemu-system-common or virtiofsd')
  const found = place.includes('/') ? (isExecutable(place) ? place : null) : Bun.which(place)
  if (found === null) throw new BadInput(`${place} is no program: --share needs virtiofsd`)
  return found
}

/** The option parser's own escape for its separator. */
function escapeOption(value: string): string {
  return value.replace(/[\\,]/g, character => `\\${character}`)
}

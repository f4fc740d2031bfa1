/** What `bulkhead doctor` says of running guests at all: KVM, networks, and the parts that are fetched on first use. */
import { constants } from 'node:fs'
import { join } from 'node:path'
import { isDefaultGuestPrepared } from '../guest/default-guest.ts'
import { kvmHost } from '../kvm/host-kind.ts'
import { systemVirtiofsd } from '../machine/device/share-config.ts'
import { cacheRoot } from '../packages/cache.ts'
import { isRigPrepared } from '../rig/prepare.ts'
import {
  advice,
  type Finding,
  type HostFolders,
  hasCapability,
  missing,
  ok,
  openRefusal,
  textOf,
} from './doctor-finding.ts'
import { isPasstPrepared, isVirtiofsdPrepared } from './programs.ts'

/** linux/capability.h */
const CAP_NET_ADMIN = 12
/** A device takes a few, and each of its queues and interrupts one. */
const ENOUGH_FILES = 1024

/** The findings about the host as it is. */
export function machineFindings(host: HostFolders): readonly Finding[] {
  return [kvm(host), openFiles(host), tap(host)]
}

/** The findings about what has been fetched, and whether more can be. Nothing is fetched. `which` finds programs. */
export function partFindings(which: (name: string) => string | null = Bun.which): readonly Finding[] {
  return [
    packages(which),
    part('default guest', isDefaultGuestPrepared(), 'bulkhead setup'),
    part('emulated host (rig)', isRigPrepared(), 'bulkhead setup --host rig'),
    program('passt (--network)', which('passt') ?? undefined, isPasstPrepared()),
    program('virtiofsd (--share)', systemVirtiofsd(), isVirtiofsdPrepared()),
  ]
}

function kvm({ dev, proc }: HostFolders): Finding {
  const found = kvmHost(join(dev, 'kvm'), join(proc, 'cpuinfo'))
  if (found.runsLinux) return ok('KVM', 'runs Linux guests')
  if (found.opens)
    return advice('KVM', `${found.reason}: small test kernels run here, Linux guests in the emulated host`)
  const what = /EACCES|EPERM/.test(found.reason)
    ? 'add yourself to the group kvm (usermod -aG kvm $USER)'
    : "switch virtualization on in the firmware's setup and load kvm_intel or kvm_amd"
  return missing('KVM', `${found.reason}: ${what}; until then Linux guests run in the emulated host`)
}

function openFiles({ proc }: HostFolders): Finding {
  const limit = /^Max open files\s+(\S+)/m.exec(textOf(join(proc, 'self/limits')))?.[1] ?? 'unknown'
  if (limit === 'unlimited' || Number(limit) >= ENOUGH_FILES) return ok('open files', limit)
  return advice('open files', `${limit} are few for a guest with many devices: ulimit -n ${ENOUGH_FILES}`)
}

function tap(host: HostFolders): Finding {
  const refusal = openRefusal(join(host.dev, 'net/tun'), constants.O_RDWR)
  if (refusal === 'ENOENT') return missing('tap', '/dev/net/tun is not there: modprobe tun')
  if (refusal !== undefined) return missing('tap', `/dev/net/tun cannot be opened (${refusal}): chmod 666 /dev/net/tun`)
  if (hasCapability(CAP_NET_ADMIN, host)) return ok('tap', 'can be made')
  return advice('tap', 'only those that root made for you: ip tuntap add dev tap0 mode tap user $USER')
}

function packages(which: (name: string) => string | null): Finding {
  const absent = ['apt-get', 'dpkg-deb'].filter(name => which(name) === null)
  if (absent.length === 0) return ok('packages', `can be fetched with apt, into ${cacheRoot()}`)
  return missing(
    'packages',
    `${absent.join(' and ')} not installed: pass --kernel and --initrd, which need no packages`,
  )
}

function part(name: string, isPrepared: boolean, command: string): Finding {
  return isPrepared ? ok(name, 'prepared') : advice(name, `made on first use, or now by ${command}`)
}

function program(name: string, path: string | undefined, isPrepared: boolean): Finding {
  if (path !== undefined) return ok(name, path)
  return isPrepared ? ok(name, 'a copy in the cache') : advice(name, 'fetched on first use')
}

/**
 * How much memory this process may lock for DMA. VFIO counts the pages that a container maps against RLIMIT_MEMLOCK,
 * unless the process has CAP_IPC_LOCK (drivers/vfio/vfio_iommu_type1.c, vfio_lock_acct).
 */
import { existsSync, readFileSync } from 'node:fs'
import { BadInput } from '../base/errors.ts'
import { type ResourceLimit, RLIMIT_MEMLOCK, raiseResourceLimit, resourceLimit } from '../host/resource-limit.ts'

/** linux/capability.h */
const CAP_IPC_LOCK = 14
const UID_MAP = '/proc/self/uid_map'
/** What it says where nobody made another user namespace (user_namespaces(7)). */
const ALL_USERS = /^\s*0\s+0\s+4294967295\s*$/
const KIB = 2 ** 10
const MIB = 2 ** 20

/** Throws `BadInput` when this process may not lock `needed` bytes more; raises its limit as far as it may. */
export function checkMemoryLimit(needed: number): void {
  const allowed = memoryLimit()
  if (needed > allowed) throw new BadInput(memoryAdvice(needed, allowed))
}

/** The bytes that this process may still lock, after raising its limit as far as it may; `Infinity`: no limit. */
export function memoryLimit(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  // Kernels without user namespaces have no such file.
  const users = existsSync(UID_MAP) ? readFileSync(UID_MAP, 'utf8') : undefined
  return allowedBytes({ status, users }, resourceLimit(RLIMIT_MEMLOCK), () => raiseResourceLimit(RLIMIT_MEMLOCK))
}

/** From the texts of /proc/self/status and uid_map, and the limit; `raise` makes the limit its maximum. */
export function allowedBytes(
  { status, users }: { readonly status: string; readonly users: string | undefined },
  { current, maximum }: ResourceLimit,
  raise: () => number,
): number {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'
  const isCapable = ((BigInt(`0x${capabilities}`) >> BigInt(CAP_IPC_LOCK)) & 1n) === 1n
  // The kernel asks for the capability in the first user namespace: root of a container has only one of its own.
  if (isCapable && (users === undefined || ALL_USERS.test(users))) return Number.POSITIVE_INFINITY
  const locked = Number(/^VmLck:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * KIB
  return Math.max((maximum > current ? raise() : current) - locked, 0)
}

/** One sentence. */
export function memoryAdvice(needed: number, allowed: number): string {
  return (
    `the devices need ${mib(needed)} MiB of the guest's memory locked, and this process may lock ` +
    `${Math.floor(allowed / MIB)} MiB (RLIMIT_MEMLOCK): allow more with "ulimit -l ${Math.ceil(needed / KIB)}" as root, ` +
    'or give the program CAP_IPC_LOCK'
  )
}

function mib(bytes: number): number {
  return Math.ceil(bytes / MIB)
}

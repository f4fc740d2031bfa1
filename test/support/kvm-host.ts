/** Why tests on /dev/kvm, or some of them, cannot run on this host; undefined where they can. */
import { closeSync, openSync } from 'node:fs'
import { kvmHost } from '../../src/kvm/host-kind.ts'

/** Micro-guests run on every KVM that opens; they are x86 code. */
export function missingKvm(): string | undefined {
  if (process.arch !== 'x64') return 'the micro-guests are x86 code'
  try {
    closeSync(openSync('/dev/kvm', 'r+'))
    return undefined
  } catch (error) {
    return `/dev/kvm cannot be opened (${(error as NodeJS.ErrnoException).code})`
  }
}

/** For what only the emulator of a KVM by page tables does. */
export function missingPageTableKvm(): string | undefined {
  return missingKvm() ?? (kvmHost().runsLinux ? 'this KVM runs guests in hardware' : undefined)
}

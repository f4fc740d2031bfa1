/** What this host's KVM can run. */
import { closeSync, openSync, readFileSync } from 'node:fs'

/** Whether Linux guests run here, and if not, why, in a few words. */
export type KvmHost =
  | { readonly runsLinux: true }
  /** `opens`: it runs small test kernels all the same. */
  | { readonly runsLinux: false; readonly opens: boolean; readonly reason: string }

/**
 * Looks at /dev/kvm and the processor.
 *
 * A KVM that opens on an x86-64 processor without VMX and SVM is one by page tables under another hypervisor: it takes
 * all calls and runs small guests, but no Linux (no SYSCALL, no CPUID, slow emulation of the kernel's mode).
 */
export function kvmHost(device = '/dev/kvm', cpuinfo = '/proc/cpuinfo'): KvmHost {
  try {
    closeSync(openSync(device, 'r+'))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    return { runsLinux: false, opens: false, reason: `${device} cannot be used (${code})` }
  }
  if (process.arch !== 'x64') return { runsLinux: true }
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync(cpuinfo, 'utf8'))?.[1]?.split(/\s+/) ?? []
  if (flags.includes('vmx') || flags.includes('svm')) return { runsLinux: true }
  return { runsLinux: false, opens: true, reason: 'its KVM works by page tables, without VMX or SVM' }
}

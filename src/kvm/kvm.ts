/** /dev/kvm: the system descriptor. Virtual machines come from `createVm`. */
import { constants } from 'node:fs'
import { KvmUnusable, SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { closeFd, openFd } from '../host/fd.ts'
import { ioctl, ioctlValue } from '../host/ioctl.ts'
import { kvm_cpuid_entry2, kvm_cpuid2 } from './structs.ts'
import {
  KVM_API_VERSION,
  KVM_CAP_EXT_CPUID,
  KVM_CAP_IMMEDIATE_EXIT,
  KVM_CAP_IOEVENTFD,
  KVM_CAP_IRQ_ROUTING,
  KVM_CAP_IRQCHIP,
  KVM_CAP_IRQFD,
  KVM_CAP_MAX_VCPUS,
  KVM_CAP_NR_VCPUS,
  KVM_CAP_PIT2,
  KVM_CAP_SIGNAL_MSI,
  KVM_CAP_USER_MEMORY,
  KVM_CHECK_EXTENSION,
  KVM_CREATE_VM,
  KVM_GET_API_VERSION,
  KVM_GET_SUPPORTED_CPUID,
  KVM_GET_VCPU_MMAP_SIZE,
} from './uapi.ts'
import { Vm } from './vm.ts'

/** More CPUID entries than any processor reports. */
const MAX_CPUID_ENTRIES = 256

/** What a machine cannot do without, on every architecture. */
const REQUIRED = {
  KVM_CAP_USER_MEMORY,
  KVM_CAP_IRQCHIP,
  KVM_CAP_IRQ_ROUTING,
  KVM_CAP_IRQFD,
  KVM_CAP_IOEVENTFD,
  KVM_CAP_SIGNAL_MSI,
  KVM_CAP_IMMEDIATE_EXIT,
} as const

/** What an x86-64 machine needs besides. */
const REQUIRED_X86 = { KVM_CAP_PIT2, KVM_CAP_EXT_CPUID } as const

/**
 * The KVM system descriptor.
 *
 * @example
 * using kvm = Kvm.open()
 * using vm = kvm.createVm()
 */
export class Kvm {
  /** Wraps a descriptor that `open` made; a Worker makes its own `Kvm` from the same `fd`. */
  constructor(readonly fd: number) {}

  /** Opens `path`; throws `KvmUnusable` with a sentence that says what to do when it cannot be used. */
  static open(path = '/dev/kvm'): Kvm {
    const kvm = new Kvm(openDevice(path))
    try {
      const version = ioctlValue('KVM_GET_API_VERSION', kvm.fd, KVM_GET_API_VERSION)
      if (version !== KVM_API_VERSION)
        throw new KvmUnusable(`${path} speaks KVM API ${version}, needed is ${KVM_API_VERSION}: update the kernel`)
      kvm.requireCapabilities()
      return kvm
    } catch (error) {
      kvm[Symbol.dispose]()
      throw error
    }
  }

  /** The value of a capability: 0 when missing, else 1 or a limit. */
  checkExtension(capability: number): number {
    return ioctlValue('KVM_CHECK_EXTENSION', this.fd, KVM_CHECK_EXTENSION, capability)
  }

  /** The most vCPUs that a machine can have. */
  maxVcpus(): number {
    return this.checkExtension(KVM_CAP_MAX_VCPUS) || this.checkExtension(KVM_CAP_NR_VCPUS) || 4
  }

  /** Size in bytes of a vCPU's run page mapping. */
  runPageSize(): number {
    return ioctlValue('KVM_GET_VCPU_MMAP_SIZE', this.fd, KVM_GET_VCPU_MMAP_SIZE)
  }

  /** A `struct kvm_cpuid2` with what the host can give a guest, ready to be edited and set. */
  supportedCpuid(): CBuffer {
    const cpuid = new CBuffer(kvm_cpuid2.size + MAX_CPUID_ENTRIES * kvm_cpuid_entry2.size)
    cpuid.view.setUint32(kvm_cpuid2.offset.nent, MAX_CPUID_ENTRIES, true)
    ioctl('KVM_GET_SUPPORTED_CPUID', this.fd, KVM_GET_SUPPORTED_CPUID, cpuid)
    return cpuid
  }

  createVm(): Vm {
    return new Vm(ioctlValue('KVM_CREATE_VM', this.fd, KVM_CREATE_VM), this.runPageSize())
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
  }

  private requireCapabilities(): void {
    const required = process.arch === 'x64' ? { ...REQUIRED, ...REQUIRED_X86 } : REQUIRED
    const missing = Object.entries(required)
      .filter(([, capability]) => this.checkExtension(capability) === 0)
      .map(([name]) => name)
    if (missing.length > 0)
      throw new KvmUnusable(`this host's KVM lacks ${missing.join(', ')}: use a newer kernel, or --host rig`)
  }
}

function openDevice(path: string): number {
  try {
    return openFd(path, constants.O_RDWR)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    throw new KvmUnusable(`cannot open ${path} (${error.code}): ${remedy(error.code)}`, { cause: error })
  }
}

function remedy(code: string): string {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'add yourself to the group that owns it (usually kvm), or use --host rig'
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return 'load the kvm_intel or kvm_amd module, enable virtualization in the firmware, or use --host rig'
    default:
      return 'use --host rig'
  }
}

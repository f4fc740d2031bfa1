/**
 * struct kvm_run (linux/kvm.h): the page through which KVM_RUN tells why it returned. It is shared with the kernel,
 * which writes it only inside KVM_RUN; `immediateExit` may be written by any thread at any time.
 */
import { getU64 } from '../base/u64.ts'
import { viewAt } from '../host/mapping.ts'
import {
  KVM_EXIT_FAIL_ENTRY,
  KVM_EXIT_INTERNAL_ERROR,
  KVM_EXIT_IO,
  KVM_EXIT_IO_OUT,
  KVM_EXIT_MMIO,
  KVM_EXIT_SHUTDOWN,
  KVM_EXIT_SYSTEM_EVENT,
} from './uapi.ts'

/** Offsets in struct kvm_run; the union starts at 32. A test compares them with the header. */
export const KvmRun = {
  immediateExit: 1,
  exitReason: 8,
  ioDirection: 32,
  ioSize: 33,
  ioPort: 34,
  ioCount: 36,
  ioDataOffset: 40,
  mmioPhysAddr: 32,
  mmioData: 40,
  mmioLen: 48,
  mmioIsWrite: 52,
  failEntryReason: 32,
  failEntryCpu: 40,
  internalSuberror: 32,
  internalNdata: 36,
  internalData: 40,
  systemEventType: 32,
} as const

/** Why the vCPU left guest mode, for everything but the hot path. Addresses are guest physical. */
export type VcpuExit =
  | {
      readonly kind: 'io'
      readonly write: boolean
      readonly port: number
      readonly size: number
      readonly count: number
    }
  | { readonly kind: 'mmio'; readonly write: boolean; readonly address: number; readonly size: number }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'failEntry'; readonly reason: number; readonly cpu: number }
  | { readonly kind: 'internalError'; readonly suberror: number; readonly data: readonly number[] }
  | { readonly kind: 'systemEvent'; readonly type: number }
  | { readonly kind: 'other'; readonly reason: number }

/** A view of one vCPU's run page. Field accessors read the page each time and allocate nothing. */
export class RunPage {
  readonly view: DataView
  readonly bytes: Uint8Array

  /** `address` is where KVM's vCPU mapping of `size` bytes lies; the vCPU's owner keeps it mapped. */
  constructor(address: number, size: number) {
    const page = viewAt(address, size)
    this.view = new DataView(page)
    this.bytes = new Uint8Array(page)
  }

  get exitReason(): number {
    return this.view.getUint32(KvmRun.exitReason, true)
  }

  /** Makes the next (or the running, once a signal arrives) KVM_RUN return EINTR until it is cleared. */
  set immediateExit(on: boolean) {
    // Ordered against the wish that goes with it (machine/vcpu-control.ts).
    Atomics.store(this.bytes, KvmRun.immediateExit, on ? 1 : 0)
  }

  get ioIsWrite(): boolean {
    return this.view.getUint8(KvmRun.ioDirection) === KVM_EXIT_IO_OUT
  }

  get ioSize(): number {
    return this.view.getUint8(KvmRun.ioSize)
  }

  get ioPort(): number {
    return this.view.getUint16(KvmRun.ioPort, true)
  }

  /** How many accesses a string instruction makes in this exit. */
  get ioCount(): number {
    return this.view.getUint32(KvmRun.ioCount, true)
  }

  /** Offset of the first value in the page; `ioCount` values of `ioSize` bytes follow each other. */
  get ioDataOffset(): number {
    return getU64(this.view, KvmRun.ioDataOffset)
  }

  get mmioAddress(): number {
    return getU64(this.view, KvmRun.mmioPhysAddr)
  }

  get mmioSize(): number {
    return this.view.getUint32(KvmRun.mmioLen, true)
  }

  get mmioIsWrite(): boolean {
    return this.view.getUint8(KvmRun.mmioIsWrite) !== 0
  }

  /** Reads a little-endian value of `size` 1, 2 or 4 bytes. */
  getValue(offset: number, size: number): number {
    if (size === 4) return this.view.getUint32(offset, true)
    if (size === 2) return this.view.getUint16(offset, true)
    return this.view.getUint8(offset)
  }

  /** Writes the low `size` (1, 2 or 4) bytes of `value`. */
  setValue(offset: number, size: number, value: number): void {
    if (size === 4) this.view.setUint32(offset, value, true)
    else if (size === 2) this.view.setUint16(offset, value, true)
    else this.view.setUint8(offset, value)
  }

  /** The last exit as a typed union. */
  exit(): VcpuExit {
    const { view } = this
    switch (this.exitReason) {
      case KVM_EXIT_IO:
        return { kind: 'io', write: this.ioIsWrite, port: this.ioPort, size: this.ioSize, count: this.ioCount }
      case KVM_EXIT_MMIO:
        return { kind: 'mmio', write: this.mmioIsWrite, address: this.mmioAddress, size: this.mmioSize }
      case KVM_EXIT_SHUTDOWN:
        return { kind: 'shutdown' }
      case KVM_EXIT_FAIL_ENTRY:
        return {
          kind: 'failEntry',
          reason: getU64(view, KvmRun.failEntryReason),
          cpu: view.getUint32(KvmRun.failEntryCpu, true),
        }
      case KVM_EXIT_INTERNAL_ERROR: {
        // The kernel fills at most 16 words.
        const count = Math.min(view.getUint32(KvmRun.internalNdata, true), 16)
        const data = Array.from({ length: count }, (_, i) => getU64(view, KvmRun.internalData + 8 * i))
        return { kind: 'internalError', suberror: view.getUint32(KvmRun.internalSuberror, true), data }
      }
      case KVM_EXIT_SYSTEM_EVENT:
        return { kind: 'systemEvent', type: view.getUint32(KvmRun.systemEventType, true) }
      default:
        return { kind: 'other', reason: this.exitReason }
    }
  }
}

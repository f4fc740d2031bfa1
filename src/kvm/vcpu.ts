/**
 * A vCPU's descriptor. KVM takes the vCPU's lock in every call, so while one thread is inside KVM_RUN all calls of
 * others wait: kick the vCPU out first.
 */

import { getU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN, EINTR } from '../host/errno.ts'
import { closeFd } from '../host/fd.ts'
import { ioctl, ioctlValue } from '../host/ioctl.ts'
import type { Pointer } from '../host/libc.ts'
import { errno, libc, throwErrno } from '../host/libc.ts'
import { Mapping } from '../host/mapping.ts'
import { RunPage } from './run-page.ts'
import * as s from './structs.ts'
import * as k from './uapi.ts'

/** A model-specific register and its value. */
export interface Msr {
  readonly index: number
  readonly value: bigint
}

/** One vCPU. */
export class Vcpu {
  readonly run: RunPage

  private constructor(
    readonly fd: number,
    private readonly mapping: Mapping,
  ) {
    this.run = new RunPage(mapping.address, mapping.size)
  }

  /** Takes ownership of `fd` and maps its run page. */
  static create(fd: number, runPageSize: number): Vcpu {
    return new Vcpu(fd, Mapping.shared(fd, runPageSize))
  }

  /** Takes over a vCPU that another thread of this process created, and that thread must not dispose. */
  static adopt(fd: number, runPageAddress: number, runPageSize: number): Vcpu {
    return new Vcpu(fd, Mapping.adopt(runPageAddress, runPageSize))
  }

  /** Address of the run page in this process. */
  get runPageAddress(): number {
    return this.mapping.address
  }

  /** Runs the guest until it needs us. False: interrupted (a kick, or an AP that is not started yet). */
  enter(): boolean {
    if (libc.ioctl(this.fd, k.KVM_RUN, 0 as Pointer) === 0) return true
    const code = errno()
    if (code === EINTR || code === EAGAIN) return false
    // KVM_RUN returns EFAULT and the like together with a filled exit reason in few cases; none that we enable.
    throwErrno('KVM_RUN')
  }

  /** `struct kvm_regs` (structs.ts). */
  getRegs(): CBuffer {
    return this.get('KVM_GET_REGS', k.KVM_GET_REGS, s.kvm_regs.size)
  }

  setRegs(regs: CBuffer): void {
    ioctl('KVM_SET_REGS', this.fd, k.KVM_SET_REGS, regs)
  }

  /** `struct kvm_sregs`. */
  getSregs(): CBuffer {
    return this.get('KVM_GET_SREGS', k.KVM_GET_SREGS, s.kvm_sregs.size)
  }

  setSregs(sregs: CBuffer): void {
    ioctl('KVM_SET_SREGS', this.fd, k.KVM_SET_SREGS, sregs)
  }

  getFpu(): CBuffer {
    return this.get('KVM_GET_FPU', k.KVM_GET_FPU, s.kvm_fpu.size)
  }

  setFpu(fpu: CBuffer): void {
    ioctl('KVM_SET_FPU', this.fd, k.KVM_SET_FPU, fpu)
  }

  /** The local APIC's registers, 16 bytes apart as in the APIC page. */
  getLapic(): CBuffer {
    return this.get('KVM_GET_LAPIC', k.KVM_GET_LAPIC, s.kvm_lapic_state.size)
  }

  setLapic(lapic: CBuffer): void {
    ioctl('KVM_SET_LAPIC', this.fd, k.KVM_SET_LAPIC, lapic)
  }

  /** A `struct kvm_cpuid2` as `Kvm.supportedCpuid` gives it. */
  setCpuid(cpuid: CBuffer): void {
    ioctl('KVM_SET_CPUID2', this.fd, k.KVM_SET_CPUID2, cpuid)
  }

  /** Sets the registers in order; returns how many KVM accepted (it stops at the first that it refuses). */
  setMsrs(msrs: readonly Msr[]): number {
    const argument = new CBuffer(s.kvm_msrs.size + msrs.length * s.kvm_msr_entry.size)
    argument.view.setUint32(s.kvm_msrs.offset.nmsrs, msrs.length, true)
    for (const [index, msr] of msrs.entries()) {
      const at = s.kvm_msrs.size + index * s.kvm_msr_entry.size
      argument.view.setUint32(at + s.kvm_msr_entry.offset.index, msr.index, true)
      argument.view.setBigUint64(at + s.kvm_msr_entry.offset.data, msr.value, true)
    }
    return ioctl('KVM_SET_MSRS', this.fd, k.KVM_SET_MSRS, argument)
  }

  setMpState(state: number): void {
    const argument = new CBuffer(s.kvm_mp_state.size)
    argument.view.setUint32(0, state, true)
    ioctl('KVM_SET_MP_STATE', this.fd, k.KVM_SET_MP_STATE, argument)
  }

  /** Guest-physical address of a guest-linear one, by the vCPU's page tables; undefined where nothing is mapped. */
  translate(linearAddress: bigint): number | undefined {
    const { size, offset } = s.kvm_translation
    const argument = new CBuffer(size)
    argument.view.setBigUint64(offset.linearAddress, linearAddress, true)
    ioctl('KVM_TRANSLATE', this.fd, k.KVM_TRANSLATE, argument)
    if (argument.view.getUint8(offset.valid) === 0) return undefined
    return getU64(argument.view, offset.physicalAddress)
  }

  /** Injects a non-maskable interrupt. */
  nmi(): void {
    ioctlValue('KVM_NMI', this.fd, k.KVM_NMI)
  }

  /** Tells the guest's kvmclock that it was stopped, so that its watchdogs do not fire; ignored without kvmclock. */
  notifyPaused(): void {
    libc.ioctl(this.fd, k.KVM_KVMCLOCK_CTRL, 0 as Pointer)
  }

  [Symbol.dispose](): void {
    this.mapping[Symbol.dispose]()
    closeFd(this.fd)
  }

  private get(name: string, request: number, size: number): CBuffer {
    const result = new CBuffer(size)
    ioctl(name, this.fd, request, result)
    return result
  }
}

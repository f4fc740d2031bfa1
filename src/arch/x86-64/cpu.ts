/**
 * A vCPU's state at its first instruction. The boot vCPU starts as the boot protocol wants it; the others wait for
 * INIT and SIPI, which KVM handles.
 */
import { assert } from '../../base/errors.ts'
import { getU64, setU64 } from '../../base/u64.ts'
import type { Entry } from '../../boot/plan.ts'
import type { Kvm } from '../../kvm/kvm.ts'
import { kvm_dtable, kvm_fpu, kvm_regs, kvm_segment, kvm_sregs } from '../../kvm/structs.ts'
import { KVM_CAP_TSC_DEADLINE_TIMER } from '../../kvm/uapi.ts'
import type { Vcpu } from '../../kvm/vcpu.ts'
import { adjustCpuid } from './cpuid.ts'

const Cr0 = { pe: 1 << 0, et: 1 << 4, ne: 1 << 5, pg: 0x8000_0000 } as const
const Cr4 = { pae: 1 << 5 } as const
const Efer = { lme: 1 << 8, lma: 1 << 10 } as const
const RFLAGS_FIXED = 0x2

/** Model-specific registers with the values that firmware leaves; Intel SDM vol. 4. */
const MSR_IA32_MISC_ENABLE = 0x1a0
const MSR_IA32_MTRR_DEF_TYPE = 0x2ff
const MISC_ENABLE_FAST_STRING = 1n
const MTRR_ENABLE_WRITE_BACK = 0x806n

/** Local vector table entries in the APIC page; Intel SDM vol. 3, table 11-1. */
const APIC_LVT_LINT0 = 0x350
const APIC_LVT_LINT1 = 0x360
const DELIVERY_EXTINT = 7 << 8
const DELIVERY_NMI = 4 << 8

/** Selectors that the Linux boot protocol asks for; boot/low-memory.ts builds the table. */
const CODE_SELECTOR = 0x10
const DATA_SELECTOR = 0x18
const TSS_SELECTOR = 0x20
const GDT_LIMIT = 0x2f

const SEGMENT_CODE = 0xb
const SEGMENT_DATA = 0x3
const SEGMENT_TSS = 0xb

/** Identifies the CPU to the guest; before any register is set. */
export function setupCpuid(kvm: Kvm, vcpu: Vcpu, index: number, cpus: number): void {
  const cpuid = kvm.supportedCpuid()
  const tscDeadline = kvm.checkExtension(KVM_CAP_TSC_DEADLINE_TIMER) !== 0
  adjustCpuid(cpuid, { apicId: index, cpus, tscDeadline })
  vcpu.setCpuid(cpuid)
}

/** Sets what every vCPU has after firmware ran; `entry` only for the boot vCPU. */
export function setupCpu(vcpu: Vcpu, entry: Entry | undefined): void {
  // A host without one of these registers refuses it; the guest then lives with KVM's default.
  vcpu.setMsrs([{ index: MSR_IA32_MISC_ENABLE, value: MISC_ENABLE_FAST_STRING }])
  vcpu.setMsrs([{ index: MSR_IA32_MTRR_DEF_TYPE, value: MTRR_ENABLE_WRITE_BACK }])
  setupFpu(vcpu)
  setupLapic(vcpu)
  if (entry === undefined) return
  setupSregs(vcpu, entry)
  setupRegs(vcpu, entry)
}

function setupFpu(vcpu: Vcpu): void {
  const fpu = vcpu.getFpu()
  fpu.view.setUint16(kvm_fpu.offset.fcw, 0x37f, true)
  fpu.view.setUint32(kvm_fpu.offset.mxcsr, 0x1f80, true)
  vcpu.setFpu(fpu)
}

/** Virtual wire mode: the 8259 through LINT0, NMI through LINT1, as firmware leaves it and the MADT says. */
function setupLapic(vcpu: Vcpu): void {
  const lapic = vcpu.getLapic()
  lapic.view.setUint32(APIC_LVT_LINT0, DELIVERY_EXTINT, true)
  lapic.view.setUint32(APIC_LVT_LINT1, DELIVERY_NMI, true)
  vcpu.setLapic(lapic)
}

function setupRegs(vcpu: Vcpu, entry: Entry): void {
  const regs = vcpu.getRegs()
  const { offset } = kvm_regs
  setU64(regs.view, offset.rflags, RFLAGS_FIXED)
  if (entry.mode === 'long') {
    setU64(regs.view, offset.rip, entry.rip)
    setU64(regs.view, offset.rsi, entry.rsi)
  } else {
    setU64(regs.view, offset.rip, entry.eip)
    setU64(regs.view, offset.rax, entry.eax)
    setU64(regs.view, offset.rbx, entry.ebx)
  }
  vcpu.setRegs(regs)
}

function setupSregs(vcpu: Vcpu, entry: Entry): void {
  const sregs = vcpu.getSregs()
  const { view } = sregs
  const { offset } = kvm_sregs
  const long = entry.mode === 'long'
  setSegment(view, offset.cs, CODE_SELECTOR, SEGMENT_CODE, long)
  for (const name of ['ds', 'es', 'fs', 'gs', 'ss'] as const)
    setSegment(view, offset[name], DATA_SELECTOR, SEGMENT_DATA, false)
  setTss(view, offset.tr)
  setU64(view, offset.gdt + kvm_dtable.offset.base, entry.gdt)
  view.setUint16(offset.gdt + kvm_dtable.offset.limit, GDT_LIMIT, true)
  setU64(view, offset.idt + kvm_dtable.offset.base, 0)
  view.setUint16(offset.idt + kvm_dtable.offset.limit, 0, true)
  const paging = long ? Cr0.pg : 0
  setU64(view, offset.cr0, Cr0.pe + Cr0.et + Cr0.ne + paging)
  setU64(view, offset.cr3, entry.mode === 'long' ? entry.pageTables : 0)
  setU64(view, offset.cr4, long ? Cr4.pae : 0)
  setU64(view, offset.efer, long ? Efer.lme | Efer.lma : 0)
  vcpu.setSregs(sregs)
  const applied = vcpu.getSregs()
  assert(getU64(applied.view, offset.cr3) === getU64(view, offset.cr3), 'KVM keeps the page table base')
}

/** A flat segment over 4 GiB; `long` makes a code segment a 64-bit one. */
function setSegment(view: DataView, at: number, selector: number, type: number, long: boolean): void {
  const { offset } = kvm_segment
  setU64(view, at + offset.base, 0)
  view.setUint32(at + offset.limit, 0xffff_ffff, true)
  view.setUint16(at + offset.selector, selector, true)
  view.setUint8(at + offset.type, type)
  view.setUint8(at + offset.present, 1)
  view.setUint8(at + offset.dpl, 0)
  view.setUint8(at + offset.db, long ? 0 : 1)
  view.setUint8(at + offset.s, 1)
  view.setUint8(at + offset.l, long ? 1 : 0)
  view.setUint8(at + offset.g, 1)
  view.setUint8(at + offset.unusable, 0)
}

/** VMX demands a busy TSS in every mode. */
function setTss(view: DataView, at: number): void {
  const { offset } = kvm_segment
  setU64(view, at + offset.base, 0)
  view.setUint32(at + offset.limit, 0x67, true)
  view.setUint16(at + offset.selector, TSS_SELECTOR, true)
  view.setUint8(at + offset.type, SEGMENT_TSS)
  view.setUint8(at + offset.present, 1)
  view.setUint8(at + offset.dpl, 0)
  view.setUint8(at + offset.db, 0)
  view.setUint8(at + offset.s, 0)
  view.setUint8(at + offset.l, 0)
  view.setUint8(at + offset.g, 0)
  view.setUint8(at + offset.unusable, 0)
}

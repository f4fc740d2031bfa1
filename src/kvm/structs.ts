/** Layouts of the KVM uapi structs (linux/kvm.h, asm-x86/kvm.h), without implicit padding. */
import { layout } from '../base/struct.ts'

export const kvm_userspace_memory_region = layout('kvm_userspace_memory_region', 32, {
  slot: 'u32',
  flags: 'u32',
  guestPhysAddr: 'u64',
  memorySize: 'u64',
  userspaceAddr: 'u64',
})

export const kvm_irq_level = layout('kvm_irq_level', 8, { irq: 'u32', level: 'u32' })

export const kvm_irqfd = layout('kvm_irqfd', 32, {
  fd: 'u32',
  gsi: 'u32',
  flags: 'u32',
  resamplefd: 'u32',
  pad: 16,
})

export const kvm_ioeventfd = layout('kvm_ioeventfd', 64, {
  datamatch: 'u64',
  addr: 'u64',
  len: 'u32',
  fd: 'u32',
  flags: 'u32',
  pad: 36,
})

export const kvm_msi = layout('kvm_msi', 32, {
  addressLo: 'u32',
  addressHi: 'u32',
  data: 'u32',
  flags: 'u32',
  devid: 'u32',
  pad: 12,
})

/** Header of KVM_SET_GSI_ROUTING; `nr` entries follow. */
export const kvm_irq_routing = layout('kvm_irq_routing', 8, { nr: 'u32', flags: 'u32' })

/** One route; `u` holds {irqchip u32, pin u32} or {address_lo, address_hi, data, devid}. */
export const kvm_irq_routing_entry = layout('kvm_irq_routing_entry', 48, {
  gsi: 'u32',
  type: 'u32',
  flags: 'u32',
  pad: 'u32',
  u: 32,
})

export const kvm_pit_config = layout('kvm_pit_config', 64, { flags: 'u32', pad: 60 })

/** Header of KVM_GET_SUPPORTED_CPUID and KVM_SET_CPUID2; `nent` entries follow. */
export const kvm_cpuid2 = layout('kvm_cpuid2', 8, { nent: 'u32', padding: 'u32' })

export const kvm_cpuid_entry2 = layout('kvm_cpuid_entry2', 40, {
  function: 'u32',
  index: 'u32',
  flags: 'u32',
  eax: 'u32',
  ebx: 'u32',
  ecx: 'u32',
  edx: 'u32',
  padding: 12,
})

/** Header of KVM_GET_MSRS and KVM_SET_MSRS; `nmsrs` entries follow. */
export const kvm_msrs = layout('kvm_msrs', 8, { nmsrs: 'u32', pad: 'u32' })

export const kvm_msr_entry = layout('kvm_msr_entry', 16, { index: 'u32', reserved: 'u32', data: 'u64' })

export const kvm_mp_state = layout('kvm_mp_state', 4, { mpState: 'u32' })

export const kvm_translation = layout('kvm_translation', 24, {
  linearAddress: 'u64',
  physicalAddress: 'u64',
  valid: 'u8',
  writeable: 'u8',
  usermode: 'u8',
  pad: 5,
})

/** The local APIC's register page. */
export const kvm_lapic_state = layout('kvm_lapic_state', 1024, { regs: 1024 })

/** An in-kernel device to create: KVM_DEV_TYPE_*, the new descriptor, and flags. */
export const kvm_create_device = layout('kvm_create_device', 12, { type: 'u32', fd: 'u32', flags: 'u32' })

/** An attribute of a device descriptor: the value is at address `addr`. */
export const kvm_device_attr = layout('kvm_device_attr', 24, {
  flags: 'u32',
  group: 'u32',
  attr: 'u64',
  addr: 'u64',
})

export const kvm_regs = layout('kvm_regs', 144, {
  rax: 'u64',
  rbx: 'u64',
  rcx: 'u64',
  rdx: 'u64',
  rsi: 'u64',
  rdi: 'u64',
  rsp: 'u64',
  rbp: 'u64',
  r8: 'u64',
  r9: 'u64',
  r10: 'u64',
  r11: 'u64',
  r12: 'u64',
  r13: 'u64',
  r14: 'u64',
  r15: 'u64',
  rip: 'u64',
  rflags: 'u64',
})

/** `type` to `unusable` are bytes: the parts of the segment's access rights. */
export const kvm_segment = layout('kvm_segment', 24, {
  base: 'u64',
  limit: 'u32',
  selector: 'u16',
  type: 'u8',
  present: 'u8',
  dpl: 'u8',
  db: 'u8',
  s: 'u8',
  l: 'u8',
  g: 'u8',
  avl: 'u8',
  unusable: 'u8',
  padding: 'u8',
})

export const kvm_dtable = layout('kvm_dtable', 16, { base: 'u64', limit: 'u16', padding: 6 })

export const kvm_sregs = layout('kvm_sregs', 312, {
  cs: 24,
  ds: 24,
  es: 24,
  fs: 24,
  gs: 24,
  ss: 24,
  tr: 24,
  ldt: 24,
  gdt: 16,
  idt: 16,
  cr0: 'u64',
  cr2: 'u64',
  cr3: 'u64',
  cr4: 'u64',
  cr8: 'u64',
  efer: 'u64',
  apicBase: 'u64',
  interruptBitmap: 32,
})

/** FPU and SSE state; the x87 control word and MXCSR are what a fresh vCPU needs. */
export const kvm_fpu = layout('kvm_fpu', 416, {
  fpr: 128,
  fcw: 'u16',
  fsw: 'u16',
  ftwx: 'u8',
  pad1: 'u8',
  lastOpcode: 'u16',
  lastIp: 'u64',
  lastDp: 'u64',
  xmm: 256,
  mxcsr: 'u32',
  pad2: 'u32',
})

import { describe, expect, it } from 'vitest'
import { formatRegisters, registerValues } from '../../../src/arch/x86-64/registers.ts'
import { kvm_dtable, kvm_regs, kvm_segment, kvm_sregs } from '../../../src/kvm/structs.ts'

/** Registers whose value tells their place: `struct kvm_regs` counted from 0x1000, some of `struct kvm_sregs`. */
function registers() {
  const regs = new Uint8Array(kvm_regs.size)
  const general = new DataView(regs.buffer)
  for (let at = 0; at < kvm_regs.size; at += 8) general.setBigUint64(at, BigInt(0x1000 + at), true)
  general.setBigUint64(kvm_regs.offset.rip, 0xffff_ffff_8100_0001n, true)
  // A view that does not start at its buffer's start.
  const sregs = new Uint8Array(kvm_sregs.size + 8).subarray(8)
  const special = new DataView(sregs.buffer, 8)
  special.setBigUint64(kvm_sregs.offset.cr0, 0x8005_0033n, true)
  special.setBigUint64(kvm_sregs.offset.cr3, 0xffff_ffff_ffff_ffffn, true)
  special.setBigUint64(kvm_sregs.offset.efer, 0xd01n, true)
  special.setUint16(kvm_sregs.offset.cs + kvm_segment.offset.selector, 0x10, true)
  special.setUint8(kvm_sregs.offset.cs + kvm_segment.offset.type, 0xb)
  special.setBigUint64(kvm_sregs.offset.gdt + kvm_dtable.offset.base, 0xfffe_0000_0000_1000n, true)
  special.setUint16(kvm_sregs.offset.gdt + kvm_dtable.offset.limit, 0x7f, true)
  return { regs, sregs }
}

describe('registerValues', () => {
  it('gives exact 64-bit values by name', () => {
    const { regs, sregs } = registers()
    expect(registerValues(regs, sregs)).toMatchObject({
      rip: 0xffff_ffff_8100_0001n,
      rax: 0x1000n,
      r15: 0x1078n,
      rflags: 0x1088n,
      cr0: 0x8005_0033n,
      cr3: 0xffff_ffff_ffff_ffffn,
      efer: 0xd01n,
    })
  })
})

describe('formatRegisters', () => {
  it('writes the dump that people read', () => {
    const { regs, sregs } = registers()
    const segment = (name: string, selector = '0000', type = '0') =>
      `${name.padEnd(6)} selector ${selector}    base 0000000000000000  limit 00000000  type ${type} present 0 dpl 0 db 0 s 0 l 0 g 0`
    expect(formatRegisters(regs, sregs).split('\n')).toEqual([
      'rip    ffffffff81000001  rflags 0000000000001088  rsp    0000000000001030  rbp    0000000000001038',
      'rax    0000000000001000  rbx    0000000000001008  rcx    0000000000001010  rdx    0000000000001018',
      'rsi    0000000000001020  rdi    0000000000001028  r8     0000000000001040  r9     0000000000001048',
      'r10    0000000000001050  r11    0000000000001058  r12    0000000000001060  r13    0000000000001068',
      'r14    0000000000001070  r15    0000000000001078',
      segment('cs', '0010', 'b'),
      ...['ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'].map(name => segment(name)),
      'gdt                     base fffe000000001000  limit 0000007f',
      'idt                     base 0000000000000000  limit 00000000',
      'cr0    0000000080050033  cr2    0000000000000000  cr3    ffffffffffffffff  cr4    0000000000000000',
      'cr8    0000000000000000  efer   0000000000000d01  apic   0000000000000000',
    ])
  })
})

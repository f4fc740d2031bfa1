/** A vCPU's registers as people read them: for `debug` and for the dump after a fault. */
import { kvm_dtable, kvm_regs, kvm_segment, kvm_sregs } from '../../kvm/structs.ts'

const GENERAL = [
  ['rip', 'rflags', 'rsp', 'rbp'],
  ['rax', 'rbx', 'rcx', 'rdx'],
  ['rsi', 'rdi', 'r8', 'r9'],
  ['r10', 'r11', 'r12', 'r13'],
  ['r14', 'r15'],
] as const

const SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const
const CONTROL = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'apicBase'] as const

/** Every register by name, as an exact value. */
export function registerValues(regs: Uint8Array, sregs: Uint8Array): Record<string, bigint> {
  const general = viewOf(regs)
  const special = viewOf(sregs)
  const values: Record<string, bigint> = {}
  for (const name of GENERAL.flat()) values[name] = general.getBigUint64(kvm_regs.offset[name], true)
  for (const name of CONTROL) values[name] = special.getBigUint64(kvm_sregs.offset[name], true)
  return values
}

/** Aligned lines of the contents of `struct kvm_regs` and `struct kvm_sregs`. */
export function formatRegisters(regs: Uint8Array, sregs: Uint8Array): string {
  const values = registerValues(regs, sregs)
  const special = viewOf(sregs)
  const lines = GENERAL.map(row => row.map(name => register(name, values[name] ?? 0n)).join('  '))
  for (const name of SEGMENTS) lines.push(segment(special, name))
  for (const name of ['gdt', 'idt'] as const) {
    const at = kvm_sregs.offset[name]
    const base = special.getBigUint64(at + kvm_dtable.offset.base, true)
    const limit = special.getUint16(at + kvm_dtable.offset.limit, true)
    lines.push(`${name.padEnd(6)}                  base ${hex(base, 16)}  limit ${hex(BigInt(limit), 8)}`)
  }
  lines.push(
    CONTROL.slice(0, 4)
      .map(name => register(name, values[name] ?? 0n))
      .join('  '),
  )
  lines.push(
    CONTROL.slice(4)
      .map(name => register(name === 'apicBase' ? 'apic' : name, values[name] ?? 0n))
      .join('  '),
  )
  return lines.join('\n')
}

function segment(view: DataView, name: (typeof SEGMENTS)[number]): string {
  const at = kvm_sregs.offset[name]
  const { offset } = kvm_segment
  const selector = view.getUint16(at + offset.selector, true)
  const base = view.getBigUint64(at + offset.base, true)
  const limit = view.getUint32(at + offset.limit, true)
  const flags = ['type', 'present', 'dpl', 'db', 's', 'l', 'g'] as const
  const access = flags.map(flag => `${flag} ${view.getUint8(at + offset[flag]).toString(16)}`).join(' ')
  return `${name.padEnd(6)} selector ${hex(BigInt(selector), 4)}    base ${hex(base, 16)}  limit ${hex(BigInt(limit), 8)}  ${access}`
}

function register(name: string, value: bigint): string {
  return `${name.padEnd(6)} ${hex(value, 16)}`
}

function hex(value: bigint, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

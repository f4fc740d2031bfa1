/** CPUID leaf lists as KVM_GET_SUPPORTED_CPUID gives them, and a guest's way to look a leaf up. */
import { CBuffer } from '../../src/host/c-buffer.ts'
import { kvm_cpuid_entry2, kvm_cpuid2 } from '../../src/kvm/structs.ts'

/** A leaf: function, sub-leaf, then EAX to EDX. */
export type CpuidLeaf = readonly [number, number, number, number, number, number]

/** What `lookUp` finds. */
export interface CpuidRegisters {
  readonly eax: number
  readonly ebx: number
  readonly ecx: number
  readonly edx: number
}

/** Entries that a list has room for beyond its own, as KVM's has. */
const SPARE = 8
const INDEXED = [0x4, 0xb, 0x1f, 0x8000_001d]

/** An 8-core Intel processor as the host sees it: APIC ID 5 everywhere, hyper-threading, three cache levels. */
export const INTEL: readonly CpuidLeaf[] = [
  [0x0, 0, 0x1f, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
  [0x1, 0, 0x0008_06f8, 0x0510_0800, 0x7ffa_3203, 0x1f8b_fbff],
  [0x4, 0, 0x1c00_4121, 0x02c0_003f, 0x3f, 0],
  [0x4, 1, 0x1c00_4122, 0x01c0_003f, 0x3f, 0],
  [0x4, 2, 0x1c00_4143, 0x03c0_003f, 0x7ff, 0],
  [0x4, 3, 0x1c03_c163, 0x0380_003f, 0xffff, 4],
  [0x4, 4, 0, 0, 0, 0],
  [0xb, 0, 1, 2, 0x100, 5],
  [0x1f, 0, 1, 2, 0x100, 5],
  [0x8000_0001, 0, 0, 0, 0x121, 0x2c10_0800],
  [0x8000_0008, 0, 0x3934, 0, 0, 0],
]

/** An 8-core AMD processor with topology extensions. */
export const AMD: readonly CpuidLeaf[] = [
  [0x0, 0, 0x10, 0x6874_7541, 0x444d_4163, 0x6974_6e65],
  [0x1, 0, 0x00a2_0f12, 0x0510_0800, 0x7ef8_320b, 0x178b_fbff],
  [0xb, 0, 1, 2, 0x100, 5],
  [0x8000_0001, 0, 0x00a2_0f12, 0, 0x0040_37ff, 0x2fd3_fbff],
  [0x8000_0008, 0, 0x3030, 0, 0x700f, 0],
  [0x8000_001d, 0, 0x0000_4121, 0x01c0_003f, 0x3f, 0],
  [0x8000_001d, 1, 0x0000_4122, 0x01c0_003f, 0x3f, 0],
  [0x8000_001d, 2, 0x0000_4143, 0x01c0_003f, 0x3ff, 2],
  [0x8000_001d, 3, 0x0001_c163, 0x03c0_003f, 0x7fff, 1],
  [0x8000_001d, 4, 0, 0, 0, 0],
  [0x8000_001e, 0, 5, 0x0103, 0, 0],
]

/** A `struct kvm_cpuid2` with these leaves. */
export function cpuidOf(leaves: readonly CpuidLeaf[], spare = SPARE): CBuffer {
  const { size, offset } = kvm_cpuid_entry2
  const cpuid = new CBuffer(kvm_cpuid2.size + (leaves.length + spare) * size)
  cpuid.view.setUint32(kvm_cpuid2.offset.nent, leaves.length, true)
  for (const [i, [leaf, index, eax, ebx, ecx, edx]] of leaves.entries()) {
    const at = kvm_cpuid2.size + i * size
    const set = (field: keyof typeof offset, value: number) => cpuid.view.setUint32(at + offset[field], value, true)
    set('function', leaf)
    set('index', index)
    set('flags', INDEXED.includes(leaf) ? 1 : 0)
    set('eax', eax)
    set('ebx', ebx)
    set('ecx', ecx)
    set('edx', edx)
  }
  return cpuid
}

/** The entry for a leaf and sub-leaf; undefined when the list has none. */
export function lookUp(cpuid: CBuffer, leaf: number, index = 0): CpuidRegisters | undefined {
  const { size, offset } = kvm_cpuid_entry2
  const count = cpuid.view.getUint32(kvm_cpuid2.offset.nent, true)
  for (let i = 0; i < count; i++) {
    const get = (field: keyof typeof offset) => cpuid.view.getUint32(kvm_cpuid2.size + i * size + offset[field], true)
    if (get('function') !== leaf || get('index') !== index) continue
    return { eax: get('eax'), ebx: get('ebx'), ecx: get('ecx'), edx: get('edx') }
  }
  return undefined
}

/**
 * The guest's CPUID: what KVM says the host can give, with a topology of our own: one package, one thread a core,
 * APIC IDs counted from 0. Intel SDM vol. 2A "CPUID", AMD APM vol. 3 appendix E.
 */
import type { CBuffer } from '../../host/c-buffer.ts'
import { kvm_cpuid_entry2, kvm_cpuid2 } from '../../kvm/structs.ts'
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/uapi.ts'

const { size: ENTRY_SIZE, offset: OFFSET } = kvm_cpuid_entry2

const Leaf = {
  basic: 0x0,
  features: 0x1,
  cache: 0x4,
  topology: 0xb,
  topology2: 0x1f,
  kvm: 0x4000_0000,
  kvmFeatures: 0x4000_0001,
  extended: 0x8000_0000,
  extendedFeatures: 0x8000_0001,
  addressSizes: 0x8000_0008,
  amdCache: 0x8000_001d,
  amdTopology: 0x8000_001e,
} as const

const Leaf1Ecx = { tscDeadline: 1 << 24, hypervisor: 1 << 31 } as const
const Leaf1Edx = { htt: 1 << 28 } as const
const ExtendedEcx = { cmpLegacy: 1 << 1, topologyExtensions: 1 << 22 } as const

/** Level types of leaf 0xb's ECX[15:8]. */
const LEVEL_SMT = 1
const LEVEL_CORE = 2

/** Leaf 0's EBX: the first four letters of "AuthenticAMD" and "HygonGenuine". */
const VENDOR_AMD = 0x6874_7541
const VENDOR_HYGON = 0x6f67_7948

/** What is particular to one vCPU. */
export interface CpuidOptions {
  readonly apicId: number
  readonly cpus: number
  /** Whether the in-kernel APIC has the TSC deadline timer (KVM_CAP_TSC_DEADLINE_TIMER). */
  readonly tscDeadline: boolean
}

/** One leaf as it is being edited. */
interface Registers {
  function: number
  index: number
  eax: number
  ebx: number
  ecx: number
  edx: number
}

/** Edits a `struct kvm_cpuid2` from KVM_GET_SUPPORTED_CPUID in place for one vCPU. */
export function adjustCpuid(cpuid: CBuffer, options: CpuidOptions): void {
  addTopologyLeaves(cpuid)
  const { view } = cpuid
  const amd = isAmd(cpuid)
  const count = view.getUint32(kvm_cpuid2.offset.nent, true)
  for (let i = 0; i < count; i++) {
    const at = kvm_cpuid2.size + i * ENTRY_SIZE
    const leaf: Registers = {
      function: view.getUint32(at + OFFSET.function, true),
      index: view.getUint32(at + OFFSET.index, true),
      eax: view.getUint32(at + OFFSET.eax, true),
      ebx: view.getUint32(at + OFFSET.ebx, true),
      ecx: view.getUint32(at + OFFSET.ecx, true),
      edx: view.getUint32(at + OFFSET.edx, true),
    }
    adjustLeaf(leaf, options, amd)
    view.setUint32(at + OFFSET.eax, leaf.eax >>> 0, true)
    view.setUint32(at + OFFSET.ebx, leaf.ebx >>> 0, true)
    view.setUint32(at + OFFSET.ecx, leaf.ecx >>> 0, true)
    view.setUint32(at + OFFSET.edx, leaf.edx >>> 0, true)
  }
}

function adjustLeaf(leaf: Registers, { apicId, cpus, tscDeadline }: CpuidOptions, amd: boolean): void {
  const bits = coreBits(cpus)
  switch (leaf.function) {
    case Leaf.features:
      // EBX: initial APIC ID, number of logical CPUs in the package, CLFLUSH size, brand.
      leaf.ebx = ((apicId & 0xff) << 24) | ((1 << bits) << 16) | (leaf.ebx & 0xffff)
      leaf.ecx |= Leaf1Ecx.hypervisor
      leaf.ecx = tscDeadline ? leaf.ecx | Leaf1Ecx.tscDeadline : leaf.ecx & ~Leaf1Ecx.tscDeadline
      leaf.edx = cpus > 1 ? leaf.edx | Leaf1Edx.htt : leaf.edx & ~Leaf1Edx.htt
      break
    case Leaf.cache: {
      // Sub-leaves with cache type 0 end the list and stay as they are.
      if ((leaf.eax & 0x1f) === 0) break
      const level = (leaf.eax >>> 5) & 7
      const sharing = level >= 3 ? (1 << bits) - 1 : 0
      leaf.eax = (leaf.eax & 0x3fff) | (sharing << 14) | (((1 << bits) - 1) << 26)
      break
    }
    case Leaf.topology:
    case Leaf.topology2:
      adjustTopology(leaf, apicId, cpus, bits)
      break
    case Leaf.extendedFeatures:
      leaf.ecx = amd && cpus > 1 ? leaf.ecx | ExtendedEcx.cmpLegacy : leaf.ecx & ~ExtendedEcx.cmpLegacy
      break
    case Leaf.addressSizes:
      // ECX: threads in the package less one, and the width of the APIC ID's core field (AMD; reserved on Intel).
      leaf.ecx = amd ? (bits << 12) | (cpus - 1) : 0
      break
    case Leaf.amdCache: {
      if ((leaf.eax & 0x1f) === 0) break
      const level = (leaf.eax >>> 5) & 7
      leaf.eax = (leaf.eax & 0x3fff) | ((level >= 3 ? cpus - 1 : 0) << 14)
      break
    }
    case Leaf.amdTopology:
      leaf.eax = apicId
      leaf.ebx = apicId & 0xff
      leaf.ecx = 0
      break
    default:
  }
}

/** Leaf 0xb: sub-leaf 0 is the thread level (one thread a core), sub-leaf 1 the core level, the rest is empty. */
function adjustTopology(leaf: Registers, apicId: number, cpus: number, bits: number): void {
  leaf.edx = apicId
  if (leaf.index === 0) {
    leaf.eax = 0
    leaf.ebx = 1
    leaf.ecx = LEVEL_SMT << 8
  } else if (leaf.index === 1) {
    leaf.eax = bits
    leaf.ebx = cpus
    leaf.ecx = (LEVEL_CORE << 8) | 1
  } else {
    leaf.eax = 0
    leaf.ebx = 0
    leaf.ecx = leaf.index & 0xff
  }
}

/** KVM lists only sub-leaf 0 of the topology leaves; adds sub-leaf 1 to each that the CPU has. */
function addTopologyLeaves(cpuid: CBuffer): void {
  for (const leaf of [Leaf.topology, Leaf.topology2]) {
    if (!hasEntry(cpuid, leaf, 0) || hasEntry(cpuid, leaf, 1)) continue
    const { view } = cpuid
    const count = view.getUint32(kvm_cpuid2.offset.nent, true)
    const at = kvm_cpuid2.size + count * ENTRY_SIZE
    if (at + ENTRY_SIZE > cpuid.size) return
    view.setUint32(at + OFFSET.function, leaf, true)
    view.setUint32(at + OFFSET.index, 1, true)
    view.setUint32(at + OFFSET.flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, true)
    view.setUint32(kvm_cpuid2.offset.nent, count + 1, true)
  }
}

function hasEntry(cpuid: CBuffer, leaf: number, index: number): boolean {
  const { view } = cpuid
  const count = view.getUint32(kvm_cpuid2.offset.nent, true)
  for (let i = 0; i < count; i++) {
    const at = kvm_cpuid2.size + i * ENTRY_SIZE
    if (view.getUint32(at + OFFSET.function, true) !== leaf) continue
    if (view.getUint32(at + OFFSET.index, true) === index) return true
  }
  return false
}

/** AMD and Hygon describe cores in leaves that Intel reserves. */
function isAmd(cpuid: CBuffer): boolean {
  const { view } = cpuid
  const count = view.getUint32(kvm_cpuid2.offset.nent, true)
  for (let i = 0; i < count; i++) {
    const at = kvm_cpuid2.size + i * ENTRY_SIZE
    if (view.getUint32(at + OFFSET.function, true) !== Leaf.basic) continue
    const vendor = view.getUint32(at + OFFSET.ebx, true)
    return vendor === VENDOR_AMD || vendor === VENDOR_HYGON
  }
  return false
}

/** Bits of the APIC ID that number the cores. */
function coreBits(cpus: number): number {
  return Math.ceil(Math.log2(cpus))
}

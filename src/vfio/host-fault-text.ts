/**
 * What Linux writes to its log when a host IOMMU refuses an access of a device: Intel's and AMD's IOMMUs and Arm's
 * SMMUv3, in the forms of Linux 4.x to 6.x (drivers/iommu/intel/dmar.c, amd/iommu.c, arm/arm-smmu-v3/arm-smmu-v3.c).
 * Only accesses to memory; refused interrupts and errors of the IOMMU's own tables are left out.
 */

/** A refused access. */
export interface HostFault {
  /** Who made it, as sysfs writes it: "0000:00:10.0". */
  readonly address: string
  readonly access: 'read' | 'write'
  /** The I/O virtual address. */
  readonly iova: number
  /** The kernel's words. */
  readonly reason: string
}

// Lines of Intel's name no PCI domain, so a device of a domain besides 0 is not told from one of domain 0. Before
// Linux 5.14 there is no "NO_PASID" and no "0x"; in old ones the reason is on a line of its own, of the same record.
const DMAR =
  /^DMAR: ?\[DMA (Read|Write)[^\]]*\] Request device \[(?:0x)?([0-9a-f]{2}):(?:0x)?([0-9a-f]{2})\.([0-7])\](?: PASID [0-9a-f]+)? fault addr (?:0x)?([0-9a-f]+)\s*(?:DMAR: ?)?\[fault reason \w+\] ?(.*)$/
/** In front, or in `device=`: the address; older kernels give no domain. */
const AMD_VI =
  /^(?:\S+ ([0-9a-f:]+\.[0-7]): )?(?:AMD-Vi: )?Event logged \[(IO_PAGE_FAULT) (?:device=([0-9a-f:]+\.[0-7]) )?(domain=0x[0-9a-f]+ )address=0x([0-9a-f]+) flags=0x([0-9a-f]+)\]/
/** AMD I/O Virtualization Technology Specification 3.00 §2.5.3: the access is a write; it was an interrupt's. */
const EVENT_FLAG_RW = 0x020
const EVENT_FLAG_I = 0x008

const SMMU = /^arm-smmu-v3 (\S+): (.*)$/
const SMMU_START = /^event 0x([0-9a-f]{2}) received:/
const SMMU_WORD = /^\s*0x([0-9a-f]{8})([0-9a-f]{8})$/
const SMMU_DECODED =
  /^event: (F_\w+) client: ([0-9a-f:]+\.[0-7]) sid: 0x[0-9a-f]+ ssid: 0x[0-9a-f]+ iova: 0x([0-9a-f]+)/
/** Arm IHI 0070 (SMMUv3) §7.3: the events that are an access's, which carry its address. */
const SMMU_EVENTS: Readonly<Record<number, string>> = {
  16: 'F_TRANSLATION',
  17: 'F_ADDR_SIZE',
  18: 'F_ACCESS',
  19: 'F_PERMISSION',
}
const SMMU_WORDS = 4
/** Bit 35 of an event record, here in the upper half of its second word: the access was a read. */
const SMMU_RNW = 1 << 3

/** A record of the SMMU whose lines are coming. */
interface SmmuRecord {
  readonly id: number
  /** Upper and lower halves. */
  readonly words: (readonly [number, number])[]
}

/**
 * Finds the faults in the kernel's log, which has to be shown to it line by line.
 *
 * @example new HostFaultText().read('DMAR: [DMA Read NO_PASID] Request device [00:10.0] fault addr 0x1000 [fault reason 0x06] PTE Read access is not set')
 */
export class HostFaultText {
  /** By SMMU, whose lines may come between each other's. Replaced by each new record, so as many as there are SMMUs. */
  private readonly records = new Map<string, SmmuRecord>()
  /** Found in the numbers of a record, by SMMU: newer kernels go on to say the same in words. */
  private readonly found = new Map<string, HostFault>()

  /** The fault that `line`, without time and level, tells of or completes. */
  read(line: string): HostFault | undefined {
    return readDmar(line) ?? readAmd(line) ?? this.readSmmu(line)
  }

  private readSmmu(line: string): HostFault | undefined {
    const [, smmu, text = ''] = SMMU.exec(line) ?? []
    if (smmu === undefined) return undefined
    const start = SMMU_START.exec(text)
    if (start !== null) {
      this.records.set(smmu, { id: Number.parseInt(start[1] as string, 16), words: [] })
      this.found.delete(smmu)
      return undefined
    }
    const decoded = SMMU_DECODED.exec(text)
    if (decoded !== null) return this.decoded(smmu, decoded)
    const word = SMMU_WORD.exec(text)
    const record = this.records.get(smmu)
    if (word === null || record === undefined) return undefined
    record.words.push([Number.parseInt(word[1] as string, 16), Number.parseInt(word[2] as string, 16)])
    if (record.words.length < SMMU_WORDS) return undefined
    this.records.delete(smmu)
    const fault = fromRecord(record)
    if (fault !== undefined) this.found.set(smmu, fault)
    return fault
  }

  /** Says who it was for certain; the numbers before it said the rest. */
  private decoded(smmu: string, [, reason = '', address = '', iova = '']: RegExpExecArray): HostFault | undefined {
    const told = this.found.get(smmu)
    this.found.delete(smmu)
    if (told === undefined || told.address === address) return undefined
    return { address, access: told.access, iova: Number.parseInt(iova, 16), reason }
  }
}

function readDmar(line: string): HostFault | undefined {
  const match = DMAR.exec(line)
  if (match === null) return undefined
  const [, access, bus, device, fn, iova = '', reason = ''] = match
  return {
    address: `0000:${bus}:${device}.${fn}`,
    access: access === 'Read' ? 'read' : 'write',
    iova: Number.parseInt(iova, 16),
    reason,
  }
}

function readAmd(line: string): HostFault | undefined {
  const match = AMD_VI.exec(line)
  if (match === null) return undefined
  const [, before, kind, named, domain = '', iova = '', flagText = ''] = match
  const address = named ?? before
  const flags = Number.parseInt(flagText, 16)
  if (address === undefined || (flags & EVENT_FLAG_I) !== 0) return undefined
  return {
    address: address.split(':').length === 2 ? `0000:${address}` : address,
    access: (flags & EVENT_FLAG_RW) !== 0 ? 'write' : 'read',
    iova: Number.parseInt(iova, 16),
    reason: `${kind} ${domain}flags=0x${flagText}`,
  }
}

/**
 * Arm IHI 0070 (SMMUv3) §7.3. The stream id is the device's requester id where firmware maps them one to one, as it
 * usually does in PCI domain 0; elsewhere the address is nobody's, and kernels from 6.15 say the right one after it.
 */
function fromRecord({ id, words }: SmmuRecord): HostFault | undefined {
  const reason = SMMU_EVENTS[id]
  const [stream = 0] = words[0] ?? []
  const [flags = 0] = words[1] ?? []
  const [high = 0, low = 0] = words[2] ?? []
  if (reason === undefined || stream > 0xffff) return undefined
  const hex = (value: number) => value.toString(16).padStart(2, '0')
  return {
    address: `0000:${hex(stream >>> 8)}:${hex((stream >>> 3) & 0x1f)}.${stream & 7}`,
    access: (flags & SMMU_RNW) !== 0 ? 'read' : 'write',
    iova: high * 2 ** 32 + low,
    reason,
  }
}

/**
 * A device as VFIO shows it, without VFIO: plain bytes behind the regions, real mappings, and the kernel's rules where
 * breaking them would end a machine.
 */
import { SysError } from '../../src/base/errors.ts'
import { EBUSY, EINVAL, ENOSPC, errnoName } from '../../src/host/errno.ts'
import { Mapping } from '../../src/host/mapping.ts'
import type { ResetKind, VfioDevice, VfioIrq, VfioRegion } from '../../src/vfio/device.ts'
import type { GuestSpace } from '../../src/vfio/guest-space.ts'
import * as v from '../../src/vfio/uapi.ts'
import { E1000E_CONFIG, EDU_CONFIG, NVME_CONFIG } from './vfio-config-bytes.ts'

const COMMAND = 4
const MEMORY = 2
const PAGE = 4096
const RW = v.VFIO_REGION_INFO_FLAG_READ | v.VFIO_REGION_INFO_FLAG_WRITE

export interface FakeDeviceOptions {
  readonly config: Uint8Array
  /** Sizes of BARs 0 to 5 and the ROM. */
  readonly sizes: readonly number[]
  /** INTX, MSI, MSIX, ERR, REQ. */
  readonly irqs: readonly number[]
  readonly resetKind?: ResetKind
  /** Whether the host cannot add MSI-X vectors while they are on. */
  readonly isFixed?: boolean
  /** Interrupts that the host has left for the guest. */
  readonly vectors?: number
  /** The kind that the host does not let anybody have. */
  readonly refusedIrq?: number
  /** Whether the host refuses to map regions. */
  readonly isUnmappable?: boolean
}

export const EDU: FakeDeviceOptions = {
  config: EDU_CONFIG,
  sizes: [0x10_0000, 0, 0, 0, 0, 0, 0],
  irqs: [1, 1, 0, 0, 1],
  resetKind: 'none',
}
export const NVME: FakeDeviceOptions = {
  config: NVME_CONFIG,
  sizes: [0x4000, 0, 0, 0, 0, 0, 0],
  irqs: [1, 0, 65, 1, 1],
}
export const E1000E: FakeDeviceOptions = {
  config: E1000E_CONFIG,
  sizes: [0x2_0000, 0x2_0000, 0x20, 0x4000, 0, 0, 0x4_0000],
  irqs: [1, 1, 5, 1, 1],
}

/** See above. */
export class FakeVfioDevice implements VfioDevice {
  readonly address = '0000:00:10.0'
  readonly regions: readonly VfioRegion[]
  readonly irqs: readonly VfioIrq[]
  readonly config: Uint8Array
  /** What changes the device's state, in order. */
  readonly log: string[] = []
  /** Of each kind that is on: who gets its interrupts; -1 for nobody. */
  readonly triggers = new Map<number, number[]>()
  unmaskFd: number | undefined
  resets = 0
  readonly memory: readonly Uint8Array[]
  /** Mappings that were not given back. */
  readonly mappings = new Set<Mapping>()
  /** Told before memory decoding ends. */
  onMemoryOff: () => void = () => {}

  constructor(private readonly options: FakeDeviceOptions) {
    this.config = options.config.slice()
    const sizes = [...options.sizes, options.config.length]
    this.regions = Array.from({ length: v.VFIO_PCI_NUM_REGIONS }, (_, index) => {
      const size = sizes[index] ?? 0
      const isMappable = index <= v.VFIO_PCI_BAR5_REGION_INDEX && size >= PAGE
      return {
        index,
        size,
        flags: RW | (isMappable ? v.VFIO_REGION_INFO_FLAG_MMAP : 0),
        mappable: isMappable ? [{ offset: 0, size }] : [],
      }
    })
    const fixed = options.isFixed === true ? v.VFIO_IRQ_INFO_NORESIZE : 0
    this.irqs = options.irqs.map((count, index) => ({ index, count, flags: v.VFIO_IRQ_INFO_EVENTFD | fixed }))
    this.memory = this.regions.map(({ size }) => new Uint8Array(size))
  }

  get command(): number {
    return new DataView(this.config.buffer).getUint16(COMMAND, true)
  }

  /** Kinds of interrupt that are on, by index, without ERR and REQ. */
  get kinds(): readonly number[] {
    return [...this.triggers.keys()].filter(irq => irq < v.VFIO_PCI_ERR_IRQ_INDEX)
  }

  read(region: number, offset: number, size: number): number {
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.bytesOf(region)?.[offset + i] ?? 0xff)
    return value
  }

  write(region: number, offset: number, size: number, value: number): void {
    this.log.push(`write ${region} ${offset.toString(16)}:${size} ${value.toString(16)}`)
    if (region === v.VFIO_PCI_CONFIG_REGION_INDEX && offset === COMMAND && (value & MEMORY) === 0) this.onMemoryOff()
    const bytes = this.bytesOf(region)
    for (let i = 0; i < size; i++) if (bytes !== undefined) bytes[offset + i] = Math.floor(value / 256 ** i) & 0xff
  }

  readBytes(region: number, offset: number, length: number): Uint8Array {
    return (this.bytesOf(region) ?? new Uint8Array(length).fill(0xff)).slice(offset, offset + length)
  }

  map(_region: number, _offset: number, size: number): Mapping {
    if (this.options.isUnmappable === true) refuse(EINVAL, 'mmap')
    const mapping = Mapping.anonymous(size)
    this.mappings.add(mapping)
    const dispose = mapping[Symbol.dispose].bind(mapping)
    mapping[Symbol.dispose] = () => {
      this.mappings.delete(mapping)
      dispose()
    }
    return mapping
  }

  setTriggers(irq: number, start: number, fds: readonly number[]): void {
    this.log.push(`set ${irq} ${start} ${fds.join(' ')}`)
    if (start + fds.length > (this.irqs[irq]?.count ?? 0) || irq === this.options.refusedIrq) refuse(EINVAL)
    const isForHost = irq >= v.VFIO_PCI_ERR_IRQ_INDEX
    if (!isForHost && start + fds.length > (this.options.vectors ?? 2048)) refuse(ENOSPC)
    const others = this.kinds.filter(kind => kind !== irq)
    if (!isForHost && others.length > 0) refuse(EBUSY)
    const present = this.triggers.get(irq)
    const isFixed = ((this.irqs[irq]?.flags ?? 0) & v.VFIO_IRQ_INFO_NORESIZE) !== 0
    if (present !== undefined && isFixed && start + fds.length > present.length) refuse(EINVAL)
    const list = present ?? []
    for (const [i, fd] of fds.entries()) list[start + i] = fd
    this.triggers.set(irq, list)
  }

  disable(irq: number): void {
    this.log.push(`disable ${irq}`)
    if (!this.triggers.delete(irq)) refuse(EINVAL)
  }

  setUnmaskTrigger(irq: number, fd: number): void {
    if (!this.triggers.has(irq)) refuse(EINVAL)
    this.unmaskFd = fd
  }

  unmask(): void {
    this.log.push('unmask')
  }

  reset(): ResetKind {
    this.log.push('reset')
    this.resets++
    return this.options.resetKind ?? 'function'
  }

  private bytesOf(region: number): Uint8Array | undefined {
    if (region === v.VFIO_PCI_CONFIG_REGION_INDEX) return this.config
    return (this.command & MEMORY) === 0 ? undefined : this.memory[region]
  }
}

/** The guest's address space as a list, which must be empty of a device's memory before that stops answering. */
export class FakeSpace implements GuestSpace {
  /** By guest address: size and host address. */
  readonly slots = new Map<number, readonly [size: number, hostAddress: number]>()
  /** Maps from now on fail. */
  isFull = false

  map(guestAddress: number, size: number, hostAddress: number): void {
    if (this.isFull) refuse(ENOSPC, 'KVM_SET_USER_MEMORY_REGION')
    this.slots.set(guestAddress, [size, hostAddress])
  }

  unmap(guestAddress: number): void {
    if (!this.slots.delete(guestAddress)) throw new Error(`nothing is mapped at 0x${guestAddress.toString(16)}`)
  }

  /** "start+size", by address. */
  get list(): readonly string[] {
    return [...this.slots]
      .sort(([a], [b]) => a - b)
      .map(([start, [size]]) => `${start.toString(16)}+${size.toString(16)}`)
  }
}

function refuse(errno: number, call = 'VFIO_DEVICE_SET_IRQS'): never {
  throw new SysError(call, errno, errnoName(errno))
}

/** A device that the kernel's VFIO gives: its descriptor's calls (linux/vfio.h). */
import { HostError, SysError } from '../base/errors.ts'
import { getU64, setU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EINVAL, ENOSPC, errnoName } from '../host/errno.ts'
import { tryIoctl } from '../host/ioctl.ts'
import { Mapping } from '../host/mapping.ts'
import { readAt, writeAt } from '../host/positioned.ts'
import { type BusMate, BusReset } from './bus-reset.ts'
import type { ResetKind, VfioDevice, VfioIrq } from './device.ts'
import { readInfo } from './info.ts'
import type { VfioPlan } from './plan.ts'
import { type PlacedRegion, parseIrq, parseRegion } from './region-info.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

/** What `readBytes` reads at a time. */
const CHUNK_BYTES = 4096

/** See above. The plan's owner closes its descriptors. */
export class OpenedDevice implements VfioDevice {
  readonly address: string
  readonly regions: readonly PlacedRegion[]
  readonly irqs: readonly VfioIrq[]
  private readonly fd: number
  private readonly resets: boolean
  private readonly bus: BusReset
  /** Of one access; kept alive by this object. */
  private readonly word = new CBuffer(8)
  private readonly none = new CBuffer(0)

  /** `mates` tells of the machine's devices: a bus is reset only while the guest has no other of them that is on it. */
  constructor(plan: VfioPlan, mates: () => readonly BusMate[]) {
    this.address = plan.address
    this.fd = plan.deviceFd
    const info = this.info('VFIO_DEVICE_GET_INFO', v.VFIO_DEVICE_GET_INFO, s.vfio_device_info.size)
    const { offset } = s.vfio_device_info
    const flags = info?.getUint32(offset.flags, true) ?? 0
    if ((flags & v.VFIO_DEVICE_FLAGS_PCI) === 0)
      throw new HostError(`VFIO has ${plan.address} for something other than a PCI device`)
    this.resets = (flags & v.VFIO_DEVICE_FLAGS_RESET) !== 0
    this.regions = Array.from({ length: v.VFIO_PCI_NUM_REGIONS }, (_, index) => this.region(index))
    this.irqs = Array.from({ length: v.VFIO_PCI_NUM_IRQS }, (_, index) => this.irq(index))
    this.bus = new BusReset(plan, mates)
  }

  read(region: number, offset: number, size: number): number {
    const place = this.regions[region]
    const { view, bytes } = this.word
    bytes.fill(0xff)
    // A short or failed read leaves ones: the device is gone, or its memory is off (EIO).
    if (place !== undefined && offset + size <= place.size) readAt(this.fd, this.word, size, place.offset + offset)
    switch (size) {
      case 1:
        return view.getUint8(0)
      case 2:
        return view.getUint16(0, true)
      case 4:
        return view.getUint32(0, true)
      default:
        return getU64(view, 0)
    }
  }

  write(region: number, offset: number, size: number, value: number): void {
    const place = this.regions[region]
    if (place === undefined || offset + size > place.size) return
    setU64(this.word.view, 0, value)
    writeAt(this.fd, this.word, size, place.offset + offset)
  }

  readBytes(region: number, offset: number, length: number): Uint8Array {
    const result = new Uint8Array(length).fill(0xff)
    const place = this.regions[region]
    if (place === undefined) return result
    const chunk = new CBuffer(CHUNK_BYTES)
    const end = Math.min(length, place.size - offset)
    for (let at = 0; at < end; ) {
      const count = readAt(this.fd, chunk, Math.min(CHUNK_BYTES, end - at), place.offset + offset + at)
      if (count <= 0) break
      result.set(chunk.bytes.subarray(0, count), at)
      at += count
    }
    return result
  }

  map(region: number, offset: number, size: number): Mapping {
    const place = this.regions[region]
    if (place === undefined) throw new SysError('mmap', EINVAL, errnoName(EINVAL))
    return Mapping.device(this.fd, place.offset + offset, size, (place.flags & v.VFIO_REGION_INFO_FLAG_WRITE) !== 0)
  }

  setTriggers(irq: number, start: number, fds: readonly number[]): void {
    if (fds.length === 0) return
    const taken = this.setIrqs(v.VFIO_IRQ_SET_DATA_EVENTFD | v.VFIO_IRQ_SET_ACTION_TRIGGER, irq, start, fds.length, fds)
    // The host has only that many vectors left (pci_alloc_irq_vectors), and set up none.
    if (taken > 0) throw new SysError('VFIO_DEVICE_SET_IRQS', ENOSPC, errnoName(ENOSPC))
    if (taken < 0) throw new SysError('VFIO_DEVICE_SET_IRQS', -taken, errnoName(-taken))
  }

  disable(irq: number): void {
    const result = this.setIrqs(v.VFIO_IRQ_SET_DATA_NONE | v.VFIO_IRQ_SET_ACTION_TRIGGER, irq, 0, 0)
    // EINVAL: it is off already.
    if (result < 0 && result !== -EINVAL) throw new SysError('VFIO_DEVICE_SET_IRQS', -result, errnoName(-result))
  }

  setUnmaskTrigger(irq: number, fd: number): void {
    this.checkedIrqs(v.VFIO_IRQ_SET_DATA_EVENTFD | v.VFIO_IRQ_SET_ACTION_UNMASK, irq, [fd])
  }

  unmask(irq: number): void {
    this.checkedIrqs(v.VFIO_IRQ_SET_DATA_NONE | v.VFIO_IRQ_SET_ACTION_UNMASK, irq)
  }

  reset(): ResetKind {
    if (this.resets && tryIoctl(this.fd, v.VFIO_DEVICE_RESET, this.none) >= 0) return 'function'
    return this.bus.reset()
  }

  private region(index: number): PlacedRegion {
    const { size, offset } = s.vfio_region_info
    return parseRegion(
      index,
      this.info('VFIO_DEVICE_GET_REGION_INFO', v.VFIO_DEVICE_GET_REGION_INFO, size, view =>
        view.setUint32(offset.index, index, true),
      ),
    )
  }

  private irq(index: number): VfioIrq {
    const { size, offset } = s.vfio_irq_info
    return parseIrq(
      index,
      this.info('VFIO_DEVICE_GET_IRQ_INFO', v.VFIO_DEVICE_GET_IRQ_INFO, size, view =>
        view.setUint32(offset.index, index, true),
      ),
    )
  }

  private info(
    name: string,
    request: number,
    size: number,
    prepare: (view: DataView) => void = () => {},
  ): DataView | undefined {
    return readInfo(this.fd, { name, request, size, prepare })
  }

  private checkedIrqs(flags: number, irq: number, fds: readonly number[] = []): void {
    const result = this.setIrqs(flags, irq, 0, 1, fds)
    if (result < 0) throw new SysError('VFIO_DEVICE_SET_IRQS', -result, errnoName(-result))
  }

  private setIrqs(flags: number, irq: number, start: number, count: number, fds: readonly number[] = []): number {
    const { size, offset } = s.vfio_irq_set
    const set = new CBuffer(size + 4 * fds.length)
    set.view.setUint32(offset.argsz, set.size, true)
    set.view.setUint32(offset.flags, flags, true)
    set.view.setUint32(offset.index, irq, true)
    set.view.setUint32(offset.start, start, true)
    set.view.setUint32(offset.count, count, true)
    for (const [index, fd] of fds.entries()) set.view.setInt32(size + 4 * index, fd, true)
    return tryIoctl(this.fd, v.VFIO_DEVICE_SET_IRQS, set)
  }
}

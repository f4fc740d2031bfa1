/** Tells the driver of faults by the event queue. VIRTIO 1.2 §5.13.6.9. */
import { setU64 } from '../base/u64.ts'
import type { Fault } from '../iommu/fault.ts'
import { Access } from '../memory/dma-space.ts'
import {
  FAULT_SIZE,
  VIRTIO_IOMMU_FAULT_F_ADDRESS,
  VIRTIO_IOMMU_FAULT_F_READ,
  VIRTIO_IOMMU_FAULT_F_WRITE,
} from './iommu-protocol.ts'
import { Chain, type VirtQueue } from './queue.ts'

// struct virtio_iommu_fault: u8 reason, u8 reserved[3], le32 flags, le32 endpoint, le32 reserved1, le64 address.
const REASON = 0
const FLAGS = 4
const ENDPOINT = 8
const ADDRESS = 16

/** Why a driver did not hear of a fault. */
export const Drop = {
  noQueue: 'the driver has set up no event queue',
  noBuffer: 'the driver has no buffer in the event queue',
  smallBuffer: 'the buffer in the event queue is too small',
} as const

export type Drop = (typeof Drop)[keyof typeof Drop]

/** Fills event buffers, one for each fault. Only writes memory and interrupts: it may be called from anywhere. */
export class FaultReporter {
  private chain: Chain | undefined
  private readonly bytes = new Uint8Array(FAULT_SIZE)
  private readonly view = new DataView(this.bytes.buffer)

  /** Says why the fault is dropped, if it is; §5.13.6.9 leaves that or waiting to the device. */
  report(queue: VirtQueue | undefined, fault: Fault): Drop | undefined {
    if (queue === undefined) return Drop.noQueue
    this.chain ??= new Chain(queue.space)
    const { chain } = this
    if (!queue.pop(chain)) return Drop.noBuffer
    // §5.13.6.9.2: an event does not go on in another buffer.
    const fits = chain.writable.size >= FAULT_SIZE
    if (fits) {
      this.encode(fault)
      chain.writable.write(0, this.bytes)
    }
    queue.push(chain, fits ? FAULT_SIZE : 0)
    queue.flush()
    return fits ? undefined : Drop.smallBuffer
  }

  private encode({ reason, access, endpoint, address }: Fault): void {
    const { view } = this
    // A greater one was rounded: the driver may do without (§5.13.6.9.2), but not with a wrong one.
    const isExact = Number.isSafeInteger(address)
    const flags =
      ((access & Access.read) !== 0 ? VIRTIO_IOMMU_FAULT_F_READ : 0) |
      ((access & Access.write) !== 0 ? VIRTIO_IOMMU_FAULT_F_WRITE : 0) |
      (isExact ? VIRTIO_IOMMU_FAULT_F_ADDRESS : 0)
    view.setUint8(REASON, reason)
    view.setUint32(FLAGS, flags, true)
    view.setUint32(ENDPOINT, endpoint, true)
    setU64(view, ADDRESS, isExact ? address : 0)
  }
}

/**
 * A device's life as its driver steers it: status, features, queues, resets. VIRTIO 1.2 §2.1, §2.6.1, §3.1, §4.1.4.3.
 * Knows no registers and no interrupt controller; pci-common.ts and pci.ts are around it.
 *
 * A driver that breaks the rules is answered with silence (the register keeps its value) and one debug line.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
} from './features.ts'
import type { FeatureNegotiation } from './pci-features.ts'
import type { OnceLog } from './pci-log.ts'
import { type QueueOwner, QueueSlot, VIRTIO_MSI_NO_VECTOR } from './pci-queue.ts'
import type { VirtQueue } from './queue.ts'
import type { QueuePoller } from './queue-poller.ts'

/** Status bits that the driver sets; it never clears one but by writing 0 (§2.1.1). */
const DRIVER_BITS =
  VIRTIO_CONFIG_S_ACKNOWLEDGE |
  VIRTIO_CONFIG_S_DRIVER |
  VIRTIO_CONFIG_S_DRIVER_OK |
  VIRTIO_CONFIG_S_FEATURES_OK |
  VIRTIO_CONFIG_S_FAILED

/** What the transport needs of the bus that it is on. */
export interface TransportBus {
  /** Used buffer notification. */
  queueInterrupt(vector: number): void
  /** Configuration change notification. */
  configInterrupt(vector: number): void
  /** Interrupts that were sent and not yet seen are void. */
  clearInterrupts(): void
  addDoorbell(queue: number): void
  removeDoorbell(queue: number): void
  /** Whether the function may reach memory now. */
  readonly mayAccessMemory: boolean
}

/** The device's transport, as the device sees it (VirtioHost) and as the registers do. */
export class Transport implements VirtioHost, QueueOwner {
  readonly slots: readonly QueueSlot[]
  status = 0
  configVector = VIRTIO_MSI_NO_VECTOR
  /** config_generation. */
  generation = 0
  /** A reset is under way: the driver waits for status 0, and nothing that it writes counts (§4.1.4.3.2). */
  isResetting = false
  /** Between `activate` and `reset` of the device. */
  private active = false
  /** Resets of queues that the device has not finished; its own reset waits for them. */
  private queueResets = 0

  constructor(
    private readonly device: VirtioDevice,
    readonly space: DmaSpace,
    readonly negotiation: FeatureNegotiation,
    private readonly bus: TransportBus,
    private readonly lines: OnceLog,
    readonly poller: QueuePoller | undefined,
  ) {
    this.slots = device.queueSizes.map((size, index) => new QueueSlot(index, size, this))
  }

  get features(): bigint {
    return this.negotiation.negotiated ?? 0n
  }

  get mayAccessMemory(): boolean {
    return this.bus.mayAccessMemory
  }

  queue(index: number): VirtQueue | undefined {
    return this.slots[index]?.queue
  }

  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff
    if (this.active) this.bus.configInterrupt(this.configVector)
  }

  needsReset(reason: string): void {
    if (!this.active) return
    this.lines.line(`needs a reset: ${reason}`)
    if ((this.status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0) return
    this.status |= VIRTIO_CONFIG_S_NEEDS_RESET
    // §2.1.2: after DRIVER_OK, which is when a device is active.
    this.bus.configInterrupt(this.configVector)
  }

  log(message: string): void {
    this.lines.line(message)
  }

  interrupt(vector: number): void {
    this.bus.queueInterrupt(vector)
  }

  queueBroken(reason: string): void {
    this.needsReset(reason)
  }

  /** device_status was written. */
  writeStatus(value: number): void {
    if (value === 0) {
      this.reset()
      return
    }
    if (this.isResetting) return
    const wanted = value & DRIVER_BITS
    const cleared = this.status & DRIVER_BITS & ~wanted
    if (cleared !== 0) {
      this.lines.line(`the driver clears status bits 0x${cleared.toString(16)}; only 0 takes bits back`)
      return
    }
    const added = wanted & ~this.status
    this.status |= added & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FAILED)
    if ((added & VIRTIO_CONFIG_S_FEATURES_OK) !== 0) this.closeNegotiation()
    if ((added & VIRTIO_CONFIG_S_DRIVER_OK) !== 0) this.start()
  }

  /** Everything to power-on; at once, or when the device has finished what is under way. */
  reset(): void {
    if (this.isResetting) return
    this.silence()
    if (!this.active) {
      this.device.forgetFeatures?.()
      this.powerOn()
      return
    }
    this.active = false
    this.isResetting = true
    if (this.queueResets === 0) this.resetDevice()
  }

  /** 1 was written to queue_enable. */
  enableQueue(slot: QueueSlot): void {
    if (slot.enabled) return
    const { negotiation } = this
    if (negotiation.negotiated === undefined) {
      // §3.1.1: queues come after FEATURES_OK; before it their layout is not known.
      this.lines.line(`queue ${slot.index}: enabled before FEATURES_OK`)
      return
    }
    const problem = slot.enable({
      packed: negotiation.has(VIRTIO_F_RING_PACKED),
      eventIdx: negotiation.has(VIRTIO_F_RING_EVENT_IDX),
      indirect: negotiation.has(VIRTIO_F_RING_INDIRECT_DESC),
    })
    if (problem !== undefined) {
      this.lines.line(problem)
      return
    }
    this.bus.addDoorbell(slot.index)
    if (!this.active) return
    slot.live = true
    this.notify(slot)
  }

  /** 1 was written to queue_reset. §2.6.1.1. */
  resetQueue(slot: QueueSlot): void {
    if (!this.negotiation.has(VIRTIO_F_RING_RESET)) {
      this.lines.line(`queue ${slot.index}: reset without VIRTIO_F_RING_RESET`)
      return
    }
    if (!slot.enabled || slot.resetting) return
    this.bus.removeDoorbell(slot.index)
    slot.live = false
    slot.resetting = true
    if (!this.active) {
      slot.reset()
      return
    }
    this.queueResets++
    const done = once(() => {
      this.queueResets--
      slot.reset()
      if (this.isResetting && this.queueResets === 0) this.resetDevice()
    })
    this.device.resetQueue(slot.index, done)
  }

  /** Queue `index` was notified, by whatever way. */
  ring(index: number): void {
    const slot = this.slots[index]
    if (slot === undefined) return
    slot.notifications++
    this.notify(slot)
  }

  /** Looks at all queues, as after something that may have kept notifications from being served. */
  notifyAll(): void {
    for (const slot of this.slots) this.notify(slot)
  }

  notify(slot: QueueSlot): void {
    const queue = slot.queue
    if (queue === undefined || queue.isBroken) return
    this.device.notify(slot.index)
  }

  private closeNegotiation(): void {
    const refusal = this.negotiation.accept()
    if (refusal === undefined) this.status |= VIRTIO_CONFIG_S_FEATURES_OK
    else this.lines.line(refusal)
  }

  private start(): void {
    if ((this.status & VIRTIO_CONFIG_S_FEATURES_OK) === 0) {
      this.lines.line('the driver sets DRIVER_OK without FEATURES_OK')
      return
    }
    this.status |= VIRTIO_CONFIG_S_DRIVER_OK
    this.active = true
    for (const slot of this.slots) slot.live = slot.enabled && !slot.resetting
    this.device.activate(this)
    // The driver may have added buffers, and notified, before DRIVER_OK.
    this.notifyAll()
  }

  /** From here on the driver hears nothing of this life. */
  private silence(): void {
    for (const slot of this.slots) {
      slot.live = false
      if (slot.enabled) this.bus.removeDoorbell(slot.index)
    }
    this.bus.clearInterrupts()
  }

  private resetDevice(): void {
    const done = once(() => {
      this.isResetting = false
      this.powerOn()
    })
    this.device.reset(done)
  }

  private powerOn(): void {
    this.status = 0
    this.configVector = VIRTIO_MSI_NO_VECTOR
    this.negotiation.reset()
    for (const slot of this.slots) slot.reset()
    this.bus.clearInterrupts()
  }
}

/** `task`, but only the first time. */
function once(task: () => void): () => void {
  let isDone = false
  return () => {
    if (isDone) return
    isDone = true
    task()
  }
}

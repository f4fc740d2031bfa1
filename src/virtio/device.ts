/**
 * What a virtio device is to its transport, and the transport to a device. A device knows no bus: it has features, a
 * configuration space, queues, and backends that were given to its constructor as small interfaces.
 *
 * Everything here is called on the thread that owns the device; nothing blocks.
 */
import type { VirtQueue } from './queue.ts'

/** Device side. Order of life: construct, (activate, notify*, reset)*, close. */
export interface VirtioDevice {
  /** VIRTIO_ID_*, VIRTIO 1.2 §5. */
  readonly id: number
  /** For messages, such as "disk0". */
  readonly name: string
  /** PCI class code (24 bits: class, subclass, programming interface). */
  readonly classCode: number
  /** Device-specific features on offer (bits 0-23 and 50-63); the transport adds the reserved ones. */
  readonly features: bigint
  /**
   * Which of the transport's features (bits 24-49) the device can work with; the transport offers no others of those
   * that concern rings (VIRTIO_F_RING_INDIRECT_DESC, _EVENT_IDX, _PACKED, _RESET, NOTIFICATION_DATA). Default: all.
   */
  readonly transportFeatures?: bigint
  /** Largest size of each queue (powers of two, at most 32768); their number is the device's number of queues. */
  readonly queueSizes: readonly number[]
  /** The device configuration space as it is now, little-endian; the transport reads any width at any offset of it. */
  readonly config: Uint8Array
  /** The driver wrote `size` (1, 2 or 4) bytes inside `config`; what is read-only is ignored. */
  writeConfig?(offset: number, size: number, value: number): void
  /** FEATURES_OK is being set: whether the device can work with `features` (all negotiated bits). Default: yes. */
  acceptFeatures?(features: bigint): boolean
  /** The driver resets the device before DRIVER_OK, so that no `reset` follows: nothing is negotiated any more. */
  forgetFeatures?(): void
  /** The driver set DRIVER_OK. */
  activate(host: VirtioHost): void
  /** Queue `index` was notified, or may have chains: after DRIVER_OK, or after it was enabled again. */
  notify(index: number): void
  /**
   * The driver resets the device: drop all that is pending, touch no guest memory any more, and call `done` when that
   * is true (at once if nothing is under way). The status register reads non-zero until then. Not called before
   * resets of queues have ended.
   */
  reset(done: () => void): void
  /** The same for one queue (VIRTIO_F_RING_RESET, §2.6.1). */
  resetQueue(index: number, done: () => void): void
  /** The machine ends; give back what the device owns of the host. Acknowledged data must be safe on return. */
  close(): void
  /** Counters for `stat`: cumulative, by name. */
  readonly statistics?: Readonly<Record<string, number>>
}

/** What a device can ask of its transport between `activate` and `reset`. */
export interface VirtioHost {
  /** Negotiated features. */
  readonly features: bigint
  /** The queue, if it is enabled and the function may reach memory at present; `notify` follows when that changes. */
  queue(index: number): VirtQueue | undefined
  /** `config` changed: raises the generation and sends a configuration interrupt. */
  configChanged(): void
  /** The driver broke the rules beyond repair: DEVICE_NEEDS_RESET, and one log line with `reason`. */
  needsReset(reason: string): void
  /** One line about something odd but harmless; repeated ones are dropped. */
  log(message: string): void
}

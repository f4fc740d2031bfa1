/**
 * Message-signalled interrupts of a function behind the IOMMU. The address in an MSI-X entry is an I/O virtual one: it
 * is translated when the entry is written or unmasked and whenever the mapping changes, and has to come to a doorbell of
 * the interrupt controller. VIRTIO 1.2 §5.13.6.8.1 (without a region of VIRTIO_IOMMU_RESV_MEM_T_MSI, MSIs are mapped).
 *
 * A message to anywhere else is a write that the IOMMU refuses: one fault each, and no interrupt, now or later.
 */
import type { InterruptLine } from '../bus/interrupt-line.ts'
import type { EndpointSpace } from '../iommu/endpoint-space.ts'
import type { Doorbell, LevelInterrupt, MsiMessage, MsiVector, PciHost } from '../pci/host.ts'

/** What is needed of an endpoint's space. */
export type MsiSpace = Pick<EndpointSpace, 'resolveMsi' | 'refuseMsi' | 'onChange'>

/**
 * What a function gets in the place of the machine's PciHost.
 *
 * @example new VirtioPci({ device, space, host: new TranslatedInterrupts(host, space), accessPlatform: true, debug })
 */
export class TranslatedInterrupts implements PciHost {
  /** Vectors that have a message; they are looked at when mappings change. */
  private readonly active = new Set<TranslatedVector>()
  /** The lowest and the highest of their addresses. */
  private low = 0
  private high = 0
  private stopListening: (() => void) | undefined
  private hasRefused = false

  constructor(
    private readonly inner: PciHost,
    private readonly space: MsiSpace,
    private readonly debug: (message: string) => void = () => {},
  ) {}

  createVector(requester: () => number): MsiVector {
    return new TranslatedVector(this.inner.createVector(requester), this)
  }

  /** Pins are wires, and reach the controller past the IOMMU. */
  line(device: number, pin: number): InterruptLine {
    return this.inner.line(device, pin)
  }

  createLevelInterrupt(device: number, pin: number): LevelInterrupt {
    return this.inner.createLevelInterrupt(device, pin)
  }

  createDoorbell(onRing: () => void): Doorbell {
    return this.inner.createDoorbell(onRing)
  }

  /** A vector's message as the interrupt controller gets it; undefined if it does not reach one. */
  resolve({ address, data }: MsiMessage): MsiMessage | undefined {
    const landing = this.space.resolveMsi(address)
    return landing === undefined ? undefined : { address: landing, data }
  }

  /** A vector was triggered whose message reaches no doorbell. */
  refuse({ address }: MsiMessage): void {
    if (!this.hasRefused) this.debug(`an interrupt to 0x${address.toString(16)} reaches no interrupt controller`)
    this.hasRefused = true
    this.space.refuseMsi(address)
  }

  /** A vector has another message now, or none any more. Without any, changes of mappings cost nothing. */
  setActive(vector: TranslatedVector, isActive: boolean): void {
    const { active } = this
    if (isActive) active.add(vector)
    else active.delete(vector)
    const addresses = Array.from(active, ({ address }) => address)
    this.low = Math.min(...addresses)
    this.high = Math.max(...addresses)
    if (active.size === 0) {
      this.stopListening?.()
      this.stopListening = undefined
    } else this.stopListening ??= this.space.onChange((start, end) => this.changed(start, end))
  }

  private changed(start: number, end: number): void {
    // Most mappings are of buffers, and there may be one for each request.
    if (end < this.low || start > this.high) return
    for (const vector of this.active) vector.update()
  }
}

/** One vector. The inner one is connected while the message reaches a doorbell. */
class TranslatedVector implements MsiVector {
  /** As the function was programmed. */
  private message: MsiMessage | undefined
  /** What the inner vector is connected to. */
  private target: MsiMessage | undefined

  constructor(
    private readonly inner: MsiVector,
    private readonly interrupts: TranslatedInterrupts,
  ) {}

  /**
   * For the inner vector's sake. Everything that bulkhead emulates calls `trigger`. Somebody outside who signals the
   * descriptor itself gets the translation as it is, but no fault: without one its signals stay, for a later mapping.
   */
  get fd(): number {
    return this.inner.fd
  }

  trigger(): void {
    const { message } = this
    if (message === undefined || this.target !== undefined) this.inner.trigger()
    else this.interrupts.refuse(message)
  }

  connect(message: MsiMessage | undefined): void {
    this.message = message
    this.interrupts.setActive(this, message !== undefined)
    this.update()
    // What waited behind the mask is sent now, and refused.
    if (message === undefined || this.target !== undefined || !this.inner.pending) return
    this.inner.clear()
    this.interrupts.refuse(message)
  }

  /** Of its message. */
  get address(): number {
    return this.message?.address ?? 0
  }

  /** Connects the inner vector as things are now. */
  update(): void {
    const { message } = this
    const target = message === undefined ? undefined : this.interrupts.resolve(message)
    const present = this.target
    if (target?.address === present?.address && target?.data === present?.data) return
    this.target = target
    this.inner.connect(target)
  }

  get pending(): boolean {
    return this.inner.pending
  }

  clear(): void {
    this.inner.clear()
  }

  close(): void {
    this.interrupts.setActive(this, false)
    this.inner.close()
  }
}

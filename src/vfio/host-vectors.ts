/**
 * MSI or MSI-X interrupts of a passed-through device: the host's vectors signal the eventfds of the machine's, so an
 * interrupt takes no way through this process. Only vectors that the guest has used are taken from the host, which has
 * few of them; a vector that the guest masks keeps the host's, and its signals wait in the eventfd.
 */
import { SysError } from '../base/errors.ts'
import type { MsiMessage, MsiVector, PciHost } from '../pci/host.ts'
import type { VfioDevice, VfioIrq } from './device.ts'
import { VFIO_IRQ_INFO_NORESIZE } from './uapi.ts'

/** Of a vector that signals nobody. */
const NOBODY = -1

/** Whose vectors a `Msi` or `Msix` gets. */
export class HostVectors {
  private readonly vectors: HostVector[] = []
  /** How many the host has set up; 0 while off. */
  private size = 0
  /** Of those, whose signals come to us. */
  private readonly armed = new Set<number>()
  private isOn = false
  private hasWarned = false

  constructor(
    private readonly device: VfioDevice,
    private readonly irq: VfioIrq,
    private readonly host: Pick<PciHost, 'createVector'>,
    private readonly warn: (message: string) => void,
  ) {}

  createVector(requester: () => number): MsiVector {
    const index = this.vectors.length
    const vector = new HostVector(
      () => this.host.createVector(requester),
      () => this.arm(index),
      reason => this.fail(reason),
    )
    this.vectors.push(vector)
    return vector
  }

  /** How many vectors of the host signal one of ours. */
  get armedCount(): number {
    return this.armed.size
  }

  /** The guest enabled this kind of interrupt; it will use `least` vectors or more. */
  start(least: number): void {
    this.isOn = true
    this.enable(least)
  }

  /** Back to none; what was pending is forgotten. */
  stop(): void {
    this.isOn = false
    this.disable()
    for (const vector of this.vectors) vector.retire()
  }

  /** The guest uses vector `index` for the first time. */
  private arm(index: number): void {
    if (!this.isOn || this.armed.has(index)) return
    if (this.size > 0 && (index < this.size || (this.irq.flags & VFIO_IRQ_INFO_NORESIZE) === 0)) {
      this.attempt(() => this.set(index, [this.vectors[index]?.fd ?? NOBODY]))
      return
    }
    // The host cannot add vectors to those it has set up. Their number doubles, so that this happens seldom.
    const before = [...this.armed]
    this.disable()
    this.enable(2 ** Math.ceil(Math.log2(index + 1)))
    // What came while they were off went to nobody; a driver bears an interrupt too many.
    for (const other of before) this.vectors[other]?.trigger()
  }

  private enable(least: number): void {
    const used = this.vectors.findLastIndex(vector => vector.isUsed) + 1
    const fds = Array.from({ length: Math.min(Math.max(least, used, 1), this.irq.count) }, (_, i) => {
      const vector = this.vectors[i]
      return vector?.isUsed === true ? vector.fd : NOBODY
    })
    // Where the host has not so many, some are better than none.
    for (let size = fds.length; size > 0 && this.size === 0; size = Math.floor(size / 2))
      this.attempt(() => {
        this.set(0, fds.slice(0, size))
        this.size = size
      })
  }

  private set(start: number, fds: readonly number[]): void {
    this.device.setTriggers(this.irq.index, start, fds)
    for (const [i, fd] of fds.entries()) if (fd !== NOBODY) this.armed.add(start + i)
  }

  private disable(): void {
    if (this.size > 0) this.attempt(() => this.device.disable(this.irq.index))
    this.size = 0
    this.armed.clear()
  }

  /** The guest decides when this happens, so a refusal of the host is told and done without. */
  private attempt(task: () => void): void {
    try {
      task()
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      this.fail(error.message)
    }
  }

  private fail(reason: string): void {
    if (!this.hasWarned) this.warn(`some of its interrupts do not come: ${reason}`)
    this.hasWarned = true
  }
}

/** One vector; the machine's is made when the guest first uses it, because each takes a descriptor. */
class HostVector implements MsiVector {
  /** Whether the guest had it connected since the interrupts were last off. */
  isUsed = false
  private isConnected = false
  private inner: MsiVector | undefined

  constructor(
    private readonly create: () => MsiVector,
    private readonly onUse: () => void,
    private readonly onFailure: (reason: string) => void,
  ) {}

  get fd(): number {
    return this.inner?.fd ?? NOBODY
  }

  trigger(): void {
    this.inner?.trigger()
  }

  connect(message: MsiMessage | undefined): void {
    if (message !== undefined && this.inner === undefined) {
      try {
        this.inner = this.create()
      } catch (error) {
        if (!(error instanceof SysError)) throw error
        this.onFailure(error.message)
        return
      }
    }
    this.isConnected = message !== undefined
    // The way to the guest first: what the host then signals is delivered at once.
    this.inner?.connect(message)
    if (message === undefined || this.isUsed) return
    this.isUsed = true
    this.onUse()
  }

  get pending(): boolean {
    return this.inner?.pending ?? false
  }

  clear(): void {
    this.inner?.clear()
  }

  close(): void {
    this.inner?.close()
    this.inner = undefined
  }

  /** What is connected stays in use: messages of one kind wait while the guest has the other kind on, too. */
  retire(): void {
    this.isUsed = this.isConnected
    this.clear()
  }
}

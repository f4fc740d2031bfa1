/** The doorbells of a device: one for each enabled queue, at its notification address wherever the BAR is mapped. */
import type { Doorbell, PciHost } from '../pci/host.ts'
import { NOTIFY_MULTIPLIER, NOTIFY_OFFSET } from './pci-layout.ts'

/** Keeps doorbells in step with queues and BAR. */
export class Doorbells {
  private readonly doorbells = new Map<number, Doorbell>()
  private bar: number | undefined

  constructor(
    private readonly host: PciHost,
    private readonly onRing: (queue: number) => void,
  ) {}

  /** The guest mapped the BAR, moved it or took it away. */
  move(bar: number | undefined): void {
    this.bar = bar
    // All leave before one comes: a new address may be another queue's old one.
    for (const doorbell of this.doorbells.values()) doorbell.place(undefined)
    if (bar === undefined) return
    for (const [queue, doorbell] of this.doorbells) doorbell.place(addressOf(bar, queue))
  }

  add(queue: number): void {
    if (this.doorbells.has(queue)) return
    const doorbell = this.host.createDoorbell(() => this.onRing(queue))
    this.doorbells.set(queue, doorbell)
    if (this.bar !== undefined) doorbell.place(addressOf(this.bar, queue))
  }

  remove(queue: number): void {
    this.doorbells.get(queue)?.close()
    this.doorbells.delete(queue)
  }

  clear(): void {
    for (const doorbell of this.doorbells.values()) doorbell.close()
    this.doorbells.clear()
  }
}

function addressOf(bar: number, queue: number): number {
  return bar + NOTIFY_OFFSET + queue * NOTIFY_MULTIPLIER
}

/** A vhost back end without a program: remembers what the device wants, and plays the program's part by hand. */
import type { VhostBackend, VhostEvents, VhostRing } from '../../src/virtio/vhost-backend.ts'

export class FakeVhost implements VhostBackend {
  features = (1n << 32n) | (1n << 29n) | (1n << 28n) | (1n << 30n)
  /** What the device asked for, in order. */
  readonly calls: string[] = []
  readonly rings = new Map<number, VhostRing>()
  /** Ends of rings that are not reported yet. */
  readonly stopping: (() => void)[] = []
  events: VhostEvents | undefined
  negotiated = 0n

  start(features: bigint, events: VhostEvents): void {
    this.calls.push('start')
    this.negotiated = features
    this.events = events
  }

  startRing(ring: VhostRing): void {
    this.calls.push(`start ring ${ring.index} at ${ring.base}`)
    this.rings.set(ring.index, ring)
  }

  stopRing(index: number, done: () => void): void {
    this.calls.push(`stop ring ${index}`)
    this.rings.delete(index)
    this.stopping.push(done)
  }

  stop(): void {
    this.calls.push('stop')
    this.events = undefined
  }

  kick(index: number): void {
    this.calls.push(`kick ${index}`)
  }

  close(): void {
    this.calls.push('close')
  }

  /** What was called since the last time. */
  take(): readonly string[] {
    return this.calls.splice(0)
  }

  /** Reports the end of one ring. */
  finish(): void {
    this.stopping.shift()?.()
  }

  /** The program dies. */
  die(): void {
    this.rings.clear()
    this.events?.lost('it died')
  }
}

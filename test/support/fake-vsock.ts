/** The host's side of vsock in tests: streams that keep what they get and give what they were given. */
import type { Extents } from '../../src/memory/extents.ts'
import type {
  VsockBackend,
  VsockRequestHandler,
  VsockStream,
  VsockStreamEvents,
} from '../../src/virtio/vsock-stream.ts'

/** A stream that takes `room` bytes of the guest's; what is sent beyond waits for `makeRoom`. */
export class FakeVsockStream implements VsockStream {
  events: VsockStreamEvents | undefined
  forwarded = 0
  room = Number.POSITIVE_INFINITY
  /** What the device called that says how the stream goes on, in order. */
  readonly calls: string[] = []
  private got: number[] = []
  private underWay: number[] = []
  private input = new Uint8Array(0)
  private hasEnded = false

  accept(hostPort: number): void {
    this.calls.push(`accept ${hostPort}`)
  }

  send(source: Extents, offset: number, length: number): void {
    const bytes = new Uint8Array(length)
    source.read(offset, bytes)
    this.underWay.push(...bytes)
    this.forward()
  }

  receive(target: Extents, offset: number, length: number): number {
    if (this.input.length === 0) return this.hasEnded ? -1 : 0
    const count = target.write(offset, this.input.subarray(0, length))
    this.input = this.input.subarray(count)
    return count
  }

  finishSending(): void {
    this.calls.push('finishSending')
  }

  stopReceiving(): void {
    this.calls.push('stopReceiving')
  }

  close(): void {
    this.calls.push('close')
  }

  abort(): void {
    this.calls.push('abort')
  }

  /** The host takes `count` bytes more. */
  makeRoom(count: number): void {
    this.room += count
    this.forward()
    this.events?.forwarded()
  }

  /** The host sends. */
  write(bytes: Uint8Array): void {
    const all = new Uint8Array(this.input.length + bytes.length)
    all.set(this.input)
    all.set(bytes, this.input.length)
    this.input = all
    this.events?.readable()
  }

  /** The host sends no more. */
  end(): void {
    this.hasEnded = true
    this.events?.readable()
  }

  /** The host goes. */
  hangUp(): void {
    this.hasEnded = true
    this.events?.hungUp()
  }

  /** What the host got since the last call. */
  take(): Uint8Array {
    return Uint8Array.from(this.got.splice(0))
  }

  private forward(): void {
    const count = Math.min(this.room, this.underWay.length)
    this.got.push(...this.underWay.splice(0, count))
    this.room -= count
    this.forwarded = (this.forwarded + count) >>> 0
  }
}

/** Host programs listen at the ports in `listening`. */
export class FakeVsockBackend implements VsockBackend {
  readonly listening = new Set<number>()
  /** The guest's connections, in order. */
  readonly streams: FakeVsockStream[] = []
  isClosed = false
  private handler: VsockRequestHandler = () => undefined

  connect(hostPort: number): VsockStream | undefined {
    if (!this.listening.has(hostPort)) return undefined
    const stream = new FakeVsockStream()
    this.streams.push(stream)
    return stream
  }

  onRequest(handler: VsockRequestHandler): void {
    this.handler = handler
  }

  close(): void {
    this.isClosed = true
  }

  /** A host program asks for a port of the guest. */
  request(guestPort: number): { stream: FakeVsockStream; hostPort: number | undefined } {
    const stream = new FakeVsockStream()
    return { stream, hostPort: this.handler(guestPort, stream) }
  }
}

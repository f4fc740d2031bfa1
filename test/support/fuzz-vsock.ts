/** Host programs behind a vsock device that connect, listen, send, take and go away as they like. */
import type { Extents } from '../../src/memory/extents.ts'
import {
  type VsockBackend,
  type VsockRequestHandler,
  type VsockStream,
  type VsockStreamEvents,
  WINDOW_BYTES,
} from '../../src/virtio/vsock-stream.ts'
import type { Random } from './random.ts'

/** Most streams at once. */
const STREAMS = 16

class FuzzStream implements VsockStream {
  events: VsockStreamEvents | undefined
  forwarded = 0
  isClosed = false
  private underWay = 0

  constructor(private readonly random: Random) {}

  accept(): void {}

  send(source: Extents, offset: number, length: number): void {
    if (this.isClosed) throw new Error('a closed stream is used')
    source.read(offset, new Uint8Array(length))
    this.underWay += length
    if (this.underWay > WINDOW_BYTES) throw new Error('more is under way than a stream keeps')
  }

  receive(target: Extents, offset: number, length: number): number {
    if (this.isClosed) throw new Error('a closed stream is used')
    const kind = this.random.below(10)
    if (kind < 5) return 0
    if (kind < 6) return -1
    return target.write(offset, this.random.bytes(Math.min(length, this.random.below(2000))))
  }

  finishSending(): void {}

  stopReceiving(): void {}

  close(): void {
    this.isClosed = true
  }

  abort(): void {
    this.isClosed = true
  }

  /** Something happens to the program at the other end. */
  stir(): void {
    const { random } = this
    const taken = random.below(this.underWay + 1)
    this.underWay -= taken
    this.forwarded = (this.forwarded + taken) >>> 0
    this.events?.forwarded()
    const kind = random.below(20)
    if (this.isClosed) return
    if (kind < 10) this.events?.readable()
    else if (kind === 18) this.events?.broken()
    else if (kind === 19) this.events?.hungUp()
  }
}

export class FuzzVsock implements VsockBackend {
  private streams: FuzzStream[] = []
  private handler: VsockRequestHandler | undefined

  constructor(private readonly random: Random) {}

  connect(hostPort: number): VsockStream | undefined {
    return hostPort % 3 === 0 ? undefined : this.create()
  }

  onRequest(handler: VsockRequestHandler): void {
    this.handler = handler
  }

  close(): void {
    for (const stream of this.streams) stream.close()
  }

  stir(): void {
    this.streams = this.streams.filter(stream => !stream.isClosed)
    if (this.random.below(4) === 0 && this.streams.length < STREAMS) {
      const stream = this.create()
      if (this.handler?.(this.random.below(8), stream) === undefined) stream.close()
    }
    this.streams[this.random.below(this.streams.length || 1)]?.stir()
  }

  private create(): FuzzStream {
    const stream = new FuzzStream(this.random)
    this.streams.push(stream)
    return stream
  }
}

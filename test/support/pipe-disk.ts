/** A disk that answers nothing before it is fed: a pipe behind io_uring. Reads are all that it can do. */
import { constants } from 'node:fs'
import { Disk } from '../../src/backend/disk.ts'
import { EventLoop } from '../../src/host/event-loop.ts'
import { EventFd } from '../../src/host/eventfd.ts'
import { closeFd, openFd, writeAll } from '../../src/host/fd.ts'
import { IoUring } from '../../src/host/io-uring.ts'
import { NamedPipe } from './named-pipe.ts'
import { VirtioMemory } from './virtio-memory.ts'

const WAIT_MS = 10_000

/** See above. */
export class PipeDisk implements Disposable {
  readonly memory: VirtioMemory
  readonly loop: EventLoop
  readonly disk: Disk
  readonly io = IoUring.create(8)
  /** What the disk said. */
  readonly heard: string[] = []
  private readonly opened = new DisposableStack()
  private readonly fd: number

  constructor(closeLimitMs: number) {
    const { opened } = this
    const pipe = opened.use(new NamedPipe())
    this.memory = opened.use(new VirtioMemory({ real: true }))
    this.loop = opened.use(new EventLoop())
    const event = opened.use(EventFd.create())
    // Both ends, so that neither open waits for the other.
    this.fd = opened.adopt(openFd(pipe.path, constants.O_RDWR), closeFd)
    this.io.setFile(this.fd)
    this.io.setEventFd(event.fd)
    this.disk = new Disk({
      path: 'pipe',
      fd: this.fd,
      size: 2 ** 20,
      readOnly: false,
      // Not read through the page cache first, which a pipe has not.
      directAlignment: 1,
      geometry: { logical: 512, physical: 512, minimal: 512, optimal: 0, discard: 512 },
      io: this.io,
      event,
      loop: this.loop,
      pinned: [],
      warn: message => void this.heard.push(message),
      abandon: () => void this.heard.push('abandoned'),
      closeLimitMs,
    })
  }

  /** What the oldest reads get. */
  feed(bytes: Uint8Array): void {
    writeAll(this.fd, bytes)
  }

  /** Lets the device hear of what was completed. */
  turn(): void {
    this.loop.wait(WAIT_MS)
  }

  [Symbol.dispose](): void {
    this.opened[Symbol.dispose]()
  }
}

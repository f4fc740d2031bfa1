import { constants } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Disk } from '../../../src/backend/disk.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { closeFd, openFd, writeAll } from '../../../src/host/fd.ts'
import { IoUring } from '../../../src/host/io-uring.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { BlockOp } from '../../../src/virtio/blk-backend.ts'
import { NamedPipe } from '../../support/named-pipe.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const SIZE = 512

/** A disk that answers nothing before it is fed: a pipe, with a read of one sector under way. */
function openHung(closeLimitMs: number) {
  const opened = new DisposableStack()
  const pipe = opened.use(new NamedPipe())
  const memory = opened.use(new VirtioMemory({ real: true }))
  const loop = opened.use(new EventLoop())
  const event = opened.use(EventFd.create())
  // Both ends, so that neither open waits for the other.
  const fd = opened.adopt(openFd(pipe.path, constants.O_RDWR), closeFd)
  const io = IoUring.create(8)
  io.setFile(fd)
  io.setEventFd(event.fd)
  const heard: string[] = []
  const disk = new Disk({
    path: 'pipe',
    fd,
    size: 2 ** 20,
    readOnly: false,
    // Not read through the page cache first, which a pipe has not.
    directAlignment: 1,
    geometry: { logical: 512, physical: 512, minimal: 512, optimal: 0, discard: 512 },
    io,
    event,
    loop,
    pinned: [],
    warn: message => void heard.push(message),
    abandon: () => void heard.push('abandoned'),
    closeLimitMs,
  })
  disk.attach({ completed: (_, errno) => void heard.push(`completed ${errno}`), settled() {} })
  const data = new Extents(memory.memory)
  data.add(0, SIZE)
  disk.submit({ index: 0, op: BlockOp.read, offset: 0, size: SIZE, data, dataOffset: 0, unmap: false })
  disk.kick()
  return { disk, io, heard, fd, [Symbol.dispose]: () => opened[Symbol.dispose]() }
}

describe('Disk.close', () => {
  it('waits for what is under way', () => {
    using hung = openHung(60_000)
    const { disk, heard, fd } = hung
    writeAll(fd, new Uint8Array(SIZE))
    disk.close()
    expect(heard).toEqual(['completed 0'])
  })

  it('gives up on a disk that does not answer, and says that it may use guest memory yet', () => {
    using hung = openHung(1)
    const { disk, io, heard } = hung
    disk.close()
    io[Symbol.dispose]()
    expect(heard).toEqual(['disk pipe does not answer: requests that are left to the kernel: 1', 'abandoned'])
  })
})

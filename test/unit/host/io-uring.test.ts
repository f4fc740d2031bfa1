import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { closeFd, openFd } from '../../../src/host/fd.ts'
import {
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_WRITE,
  IoUring,
} from '../../../src/host/io-uring.ts'
import { Mapping } from '../../../src/host/mapping.ts'
import { patternAt } from '../../support/byte-pattern.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-uring-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))
const PATTERN = new Uint8Array(64 * 512).map((_, i) => patternAt(i))

/** A ring on a file with the pattern, and what it signals. */
function open(entries = 8) {
  const path = join(DIRECTORY, 'file')
  writeFileSync(path, PATTERN)
  const stack = new DisposableStack()
  const fd = stack.adopt(openFd(path, 2), closeFd)
  const event = stack.use(EventFd.create())
  const ring = stack.use(IoUring.create(entries))
  ring.setFile(fd)
  ring.setEventFd(event.fd)
  return { ring, event, [Symbol.dispose]: () => stack[Symbol.dispose]() }
}

const addressOf = (buffer: CBuffer) => buffer.pointer as number

describe('IoUring', () => {
  it('reads, and tells token and bytes', () => {
    using bench = open()
    const { ring } = bench
    const buffer = new CBuffer(512)
    ring.queue(IORING_OP_READ, 0x89abcdef, 512, addressOf(buffer), 512, 0)
    ring.wait()
    expect(ring.next()).toBe(true)
    expect([ring.token, ring.result]).toEqual([0x89abcdef, 512])
    expect(buffer.bytes).toEqual(PATTERN.slice(512, 1024))
    expect(ring.next()).toBe(false)
  })

  it('has what the page cache can answer when submit returns, without a signal', () => {
    using bench = open()
    const { ring, event } = bench
    const buffer = new CBuffer(512)
    ring.quiet()
    ring.queue(IORING_OP_READ, 1, 0, addressOf(buffer), 512, 0)
    ring.submit()
    expect(ring.next()).toBe(true)
    expect(ring.arm()).toBe(false)
    expect(event.take()).toBe(0)
  })

  it('signals what completes later, once it is armed', () => {
    using bench = open()
    const { ring, event } = bench
    ring.queue(IORING_OP_FSYNC, 1, 0, 0, 0, 0)
    ring.wait()
    expect(ring.next()).toBe(true)
    expect(event.take()).toBeGreaterThan(0)
  })

  it('finds, when it is armed, what completed while it was quiet', () => {
    using bench = open()
    const { ring } = bench
    ring.quiet()
    ring.queue(IORING_OP_READ, 1, 0, addressOf(new CBuffer(512)), 512, 0)
    ring.submit()
    expect(ring.arm()).toBe(true)
  })

  it('gives a negative errno for what the kernel refuses', () => {
    using bench = open()
    bench.ring.queue(IORING_OP_WRITE, 1, 0, 1, 512, 0)
    bench.ring.wait()
    expect(bench.ring.next()).toBe(true)
    expect(bench.ring.result).toBe(-14)
  })

  it('goes round its rings many times', () => {
    using bench = open(4)
    const { ring } = bench
    const buffer = new CBuffer(4 * 512)
    const seen = Array.from({ length: 50 }, (_, round) => readFour(ring, buffer, round))
    expect(seen.flat()).toEqual(Array.from({ length: 200 }, (_, i) => [i, 512]))
    expect(buffer.bytes).toEqual(PATTERN.slice((196 % 64) * 512, (200 % 64) * 512))
  })

  it('refuses more than it has entries for', () => {
    using bench = open(2)
    const { ring } = bench
    ring.queue(IORING_OP_FSYNC, 1, 0, 0, 0, 0)
    ring.queue(IORING_OP_FSYNC, 2, 0, 0, 0, 0)
    expect(() => ring.queue(IORING_OP_FSYNC, 3, 0, 0, 0, 0)).toThrow('the submission ring has room')
    ring.wait()
  })

  it('reads into pinned memory', () => {
    using bench = open()
    const { ring } = bench
    using memory = Mapping.anonymous(8192)
    ring.setBuffers([memory])
    ring.queue(IORING_OP_READ_FIXED, 1, 1024, memory.address + 4096, 512, 0, 0)
    ring.wait()
    expect(ring.next() && ring.result).toBe(512)
    expect(memory.bytes(4096, 512)).toEqual(PATTERN.slice(1024, 1536))
  })

  it('names the call that registers, and what the kernel says', () => {
    using bench = open()
    expect(() => bench.ring.setBuffers([{ address: 4096, size: 4096 }])).toThrow(
      'io_uring_register(BUFFERS) failed: EFAULT',
    )
    expect(() => bench.ring.setFile(-7)).toThrow('io_uring_register(FILES) failed: EBUSY')
  })

  it('names the call that makes a ring', () => {
    expect(() => IoUring.create(0)).toThrow('io_uring_setup failed: EINVAL')
  })
})

/** Reads four sectors at once; tokens and results in order of the tokens. */
function readFour(ring: IoUring, buffer: CBuffer, round: number): number[][] {
  for (let i = 0; i < 4; i++) {
    const token = round * 4 + i
    ring.queue(IORING_OP_READ, token, (token % 64) * 512, addressOf(buffer) + i * 512, 512, 0)
  }
  const seen: number[][] = []
  while (seen.length < 4) {
    ring.wait()
    while (ring.next()) seen.push([ring.token, ring.result])
  }
  return seen.sort((a, b) => a[0]! - b[0]!)
}

import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { ByteRing } from '../../../src/machine/byte-ring.ts'
import { patternAt } from '../../support/byte-pattern.ts'

const HEADER_BYTES = 16

/** A ring of 16 bytes whose two counters stand at `count`. */
function ringAt(count: number): ByteRing {
  const ring = ByteRing.create(16)
  new Uint32Array(ring.shared, 0, 2).fill(count)
  return ring
}

const bytes = (...values: number[]) => new Uint8Array(values)
const counting = (length: number) => new Uint8Array(length).map((_, i) => i + 1)

describe('ByteRing', () => {
  it.each([0, 11, 2 ** 31 - 5, 2 ** 32 - 5])('keeps bytes in order when its counters stand at %d', count => {
    const ring = ringAt(count)
    expect(ring.push(counting(13))).toBe(13)
    expect(ring.length).toBe(13)
    expect(ring.take(4)).toEqual(counting(4))
    expect(ring.pushByte(14)).toBe(true)
    expect(ring.take()).toEqual(counting(14).subarray(4))
    expect(ring.length).toBe(0)
  })

  it.each([0, 2 ** 32 - 5])('takes no more than fits when its counters stand at %d', count => {
    const ring = ringAt(count)
    expect(ring.push(counting(20))).toBe(16)
    expect(ring.push(bytes(1))).toBe(0)
    expect(ring.pushByte(1)).toBe(false)
    expect(ring.take()).toEqual(counting(16))
  })

  it.each([0, 2 ** 32 - 2])('leaves what it shows until it is skipped when its counters stand at %d', count => {
    const ring = ringAt(count)
    ring.push(counting(5))
    expect(ring.peek(3)).toEqual(counting(3))
    expect(ring.peek(99)).toEqual(counting(5))
    ring.skip(3)
    expect(ring.take()).toEqual(bytes(4, 5))
  })

  it.each([0, 11, 2 ** 32 - 5])('fills a target with what there is when its counters stand at %d', count => {
    const ring = ringAt(count)
    ring.push(counting(9))
    const target = new Uint8Array(6)
    expect(ring.read(target)).toBe(6)
    expect(target).toEqual(counting(6))
    expect(ring.read(target)).toBe(3)
    expect(target).toEqual(bytes(7, 8, 9, 4, 5, 6))
    expect(ring.read(target)).toBe(0)
    expect(ring.room).toBe(16)
  })

  it('has a header before its bytes, and only that', () => {
    expect(ByteRing.create(64).shared.byteLength).toBe(HEADER_BYTES + 64)
  })

  it('refuses a capacity that does not divide 2^32', () => {
    expect(() => ByteRing.create(48)).toThrow('power of two')
  })

  it('has to wake a consumer once for each sleep, and at first', () => {
    const ring = ByteRing.create(16)
    expect([ring.mustWakeConsumer(), ring.mustWakeConsumer()]).toEqual([true, false])
    ring.sleep()
    expect([ring.mustWakeConsumer(), ring.mustWakeConsumer()]).toEqual([true, false])
  })

  it('has to wake a producer once for each block, and not at first', () => {
    const ring = ByteRing.create(16)
    expect(ring.mustWakeProducer()).toBe(false)
    ring.block()
    expect([ring.mustWakeProducer(), ring.mustWakeProducer()]).toEqual([true, false])
  })

  it('carries a megabyte between two threads across the wrap of its counters', async () => {
    const total = 2 ** 20
    const ring = ByteRing.create(256)
    new Uint32Array(ring.shared, 0, 2).fill(2 ** 32 - total / 2)
    const worker = new Worker(new URL('../../support/ring-producer.ts', import.meta.url), {
      workerData: { shared: ring.shared, total },
    })
    let received = 0
    let wrong = 0
    while (received < total) {
      const piece = ring.take(100)
      // Both sides give way when they cannot go on: on a busy machine spinning would wait for whole time slices.
      if (piece.length === 0) await Bun.sleep(0)
      for (const [i, byte] of piece.entries()) wrong += Number(byte !== patternAt(received + i))
      received += piece.length
    }
    expect(wrong).toBe(0)
    expect(ring.length).toBe(0)
    await worker.terminate()
  })
})

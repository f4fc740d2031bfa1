/**
 * Finds the requests that a back end outside took from a split ring and never gave back, after its death. VIRTIO 1.2
 * §2.7.6, §2.7.8. The two rings tell which heads were made available and which were used, but not what lay further back
 * than their size; so the answer is checked for consistency, and there is none when the rings do not add up.
 */
import { Access, type DmaSpace } from '../memory/dma-space.ts'
import type { QueueAreas } from './queue.ts'
import { RingArea } from './ring-area.ts'

const IDX = 2
const RING = 4
const USED_ELEM_SIZE = 8

/** What is left to do for a ring. */
export interface Unanswered {
  /** Heads of the chains, in no particular order. */
  readonly heads: readonly number[]
  /** The used index to go on from. */
  readonly usedIdx: number
}

/** Reads the rings of a queue that nobody serves; undefined when they contradict each other. */
export function findUnanswered(space: DmaSpace, areas: QueueAreas, size: number): Unanswered | undefined {
  const avail = new RingArea('available ring', areas.driver, RING + 2 * size, 2, Access.read)
  const used = new RingArea('used ring', areas.device, RING + USED_ELEM_SIZE * size, 4, Access.write)
  if (avail.map(space) !== undefined || used.map(space) !== undefined) return undefined
  const availIdx = loadIndex(avail)
  const usedIdx = loadIndex(used)
  const count = (availIdx - usedIdx) & 0xffff
  if (count > size) return undefined
  // From the oldest entry that the available ring still holds, each head was made available as often as it was used,
  // or once more: then it is unanswered. Entries from before the first round are zeros in both rings.
  const balance = new Int32Array(size)
  for (let back = 1; back <= size; back++) {
    const head = readU16(avail, RING + 2 * ((availIdx - back) & (size - 1)))
    if (head >= size) return undefined
    balance[head] = (balance[head] as number) + 1
  }
  for (let back = 1; back <= size - count; back++) {
    const head = readU32(used, RING + USED_ELEM_SIZE * ((usedIdx - back) & (size - 1)))
    if (head >= size) return undefined
    balance[head] = (balance[head] as number) - 1
  }
  if (balance.some(times => times < 0 || times > 1)) return undefined
  const heads = [...balance.keys()].filter(head => balance[head] === 1)
  return heads.length === count ? { heads, usedIdx } : undefined
}

function loadIndex(area: RingArea): number {
  const at = area.at(IDX)
  return Atomics.load(area.halves, at >>> 1)
}

function readU16(area: RingArea, offset: number): number {
  const at = area.at(offset)
  return area.view.getUint16(at, true)
}

function readU32(area: RingArea, offset: number): number {
  const at = area.at(offset)
  return area.view.getUint32(at, true)
}

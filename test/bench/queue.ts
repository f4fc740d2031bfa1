/**
 * What a virtqueue costs the device: chains of three descriptors (a header to read, data, a status to write), popped
 * and pushed, with a flush for each batch. Translation is the identity. The driver's side is not in the figures.
 */
import { Chain, type VirtQueue } from '../../src/virtio/queue.ts'
import { type DriverRequest, VirtioDriver } from '../support/virtio-driver.ts'
import { median, printTable, spread } from './table.ts'

const CHAINS = 64
const DESCRIPTORS = 3
/** A power of two with room for all chains. */
const SPLIT_SIZE = 256
const ROUNDS = 25
const ROUND_MS = 40
const BATCHES = [1, 16, CHAINS]
const REQUEST: DriverRequest = { out: [new Uint8Array(16)], in: [4096, 1] }

/** A queue whose driver makes all chains available again with one call. */
interface Loaded {
  readonly queue: VirtQueue
  refill(): void
}

/** Measures and prints. */
export async function queue(): Promise<void> {
  const candidates = [
    { name: 'split', load: () => loadSplit(false, false) },
    { name: 'split, EVENT_IDX', load: () => loadSplit(true, false) },
    { name: 'split, indirect', load: () => loadSplit(true, true) },
    { name: 'packed', load: () => loadPacked(false, false) },
    { name: 'packed, EVENT_IDX', load: () => loadPacked(true, false) },
    { name: 'packed, indirect', load: () => loadPacked(true, true) },
  ].flatMap(({ name, load }) =>
    BATCHES.map(batch => ({ name: `${name}, batches of ${batch}`, batch, loaded: load(), values: [] as number[] })),
  )
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++)
    for (const { loaded, batch, values } of candidates) {
      const value = measure(loaded, batch)
      if (round > 0) values.push(value)
    }
  printTable(
    'virtqueues, chains of 3 descriptors',
    ['', 'ns/chain', 'spread', 'million descriptors/s'],
    candidates.map(({ name, values }) => [
      name,
      median(values).toFixed(1),
      `${(spread(values) * 100).toFixed(0)} %`,
      ((DESCRIPTORS * 1000) / median(values)).toFixed(1),
    ]),
  )
}

/**
 * Nanoseconds a chain: the median of many short passes, so that those in which another process had the processor do not
 * count.
 */
function measure({ queue, refill }: Loaded, batch: number): number {
  const chain = new Chain(queue.space)
  const passes: number[] = []
  const end = Bun.nanoseconds() + ROUND_MS * 1e6
  while (Bun.nanoseconds() < end) {
    refill()
    const start = Bun.nanoseconds()
    const count = drain(queue, chain, batch)
    passes.push((Bun.nanoseconds() - start) / CHAINS)
    if (count !== CHAINS) throw new Error(`the queue had ${count} of ${CHAINS} chains`)
  }
  return median(passes)
}

/** What a device does, without its work. */
function drain(queue: VirtQueue, chain: Chain, batch: number): number {
  let count = 0
  while (queue.pop(chain)) {
    queue.push(chain, 1)
    count++
    if (count % batch === 0) queue.flush()
  }
  queue.flush()
  return count
}

function loadSplit(eventIdx: boolean, indirect: boolean): Loaded {
  const driver = new VirtioDriver({ size: SPLIT_SIZE, eventIdx, indirect })
  const { split: ring, access } = driver
  if (ring === undefined) throw new Error('this is the split layout')
  fill(driver, indirect)
  ring.disableInterrupts()
  // The same chains all around the ring: to make them available again is to raise the index.
  for (let i = CHAINS; i < SPLIT_SIZE; i++) {
    const from = ring.areas.driver + 4 + 2 * (i % CHAINS)
    access.setU16(ring.areas.driver + 4 + 2 * i, access.getU16(from))
  }
  let idx = 0
  return {
    queue: driver.queue,
    refill() {
      idx += CHAINS
      ring.setAvailIdx(idx)
    },
  }
}

function loadPacked(eventIdx: boolean, indirect: boolean): Loaded {
  // Exactly full, so that each lap is the same but for the wrap counter.
  const driver = new VirtioDriver({ size: indirect ? CHAINS : CHAINS * DESCRIPTORS, packed: true, eventIdx, indirect })
  const { ring, access } = driver
  fill(driver, indirect)
  ring.disableInterrupts()
  const odd = access.read(ring.areas.desc, 16 * ring.size)
  const even = odd.slice()
  // AVAIL and USED, the top bits of the two bytes of flags, both turn with the wrap counter.
  for (let at = 14; at < even.length; at += 16) {
    even[at] = (even[at] ?? 0) ^ 0x80
    even[at + 1] = (even[at + 1] ?? 0) ^ 0x80
  }
  let lap = 0
  return {
    queue: driver.queue,
    refill() {
      access.write(ring.areas.desc, lap++ % 2 === 0 ? odd : even)
    },
  }
}

function fill(driver: VirtioDriver, indirect: boolean): void {
  for (let i = 0; i < CHAINS; i++) driver.add({ ...REQUEST, indirect })
}

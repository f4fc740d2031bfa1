import { beforeEach, describe, expect, it } from 'vitest'
import { Chain } from '../../../src/virtio/queue.ts'
import { findUnanswered } from '../../../src/virtio/unanswered.ts'
import { VirtioDriver } from '../../support/virtio-driver.ts'

const SIZE = 8
const BYTE = Uint8Array.of(1)

let driver: VirtioDriver
/** Chains that the device took, by the order of their requests. */
let taken: Chain[]

/** Adds requests of one descriptor each, which the device takes. */
function take(count: number): void {
  for (const _ of Array(count).keys()) {
    driver.add({ out: [BYTE] })
    const chain = new Chain(driver.space)
    driver.queue.pop(chain)
    taken.push(chain)
  }
}

/** The device uses the requests with these numbers, and the driver takes them back. */
function use(...requests: readonly number[]): void {
  for (const request of requests) driver.queue.push(taken[request]!, 0)
  driver.queue.flush()
  driver.pollAll()
}

function find(): { heads: readonly number[]; usedIdx: number } | undefined {
  const found = findUnanswered(driver.space, driver.queue.areas, SIZE)
  return found && { ...found, heads: found.heads.toSorted() }
}

/** The heads of requests. */
function heads(...requests: readonly number[]): readonly number[] {
  return requests.map(request => taken[request]!.id).toSorted()
}

/** Rounds of one request each. */
function spin(rounds: number): void {
  for (const _ of Array(rounds).keys()) {
    take(1)
    use(taken.length - 1)
  }
}

beforeEach(() => {
  driver = new VirtioDriver({ size: SIZE })
  taken = []
})

describe('findUnanswered', () => {
  it('finds nothing in a fresh ring', () => {
    expect(find()).toEqual({ heads: [], usedIdx: 0 })
  })

  it('finds nothing when all is answered', () => {
    take(3)
    use(2, 0, 1)
    expect(find()).toEqual({ heads: [], usedIdx: 3 })
  })

  it('finds what was taken, in whatever order the rest was answered', () => {
    take(4)
    use(3, 1)
    expect(find()).toEqual({ heads: heads(0, 2), usedIdx: 2 })
  })

  it('finds what was offered and not even taken', () => {
    take(1)
    driver.add({ out: [BYTE] })
    expect(find()?.heads).toHaveLength(2)
  })

  it.each([5, 8, 13, 100, 65_530, 65_540])('finds the same after %i requests', rounds => {
    spin(rounds)
    take(3)
    use(rounds + 1)
    expect(find()).toEqual({ heads: heads(rounds, rounds + 2), usedIdx: (rounds + 1) & 0xffff })
  })

  it('finds a full ring', () => {
    spin(3)
    take(SIZE)
    expect(find()).toEqual({ heads: [0, 1, 2, 3, 4, 5, 6, 7], usedIdx: 3 })
  })

  it('says nothing when the rings contradict each other', () => {
    take(2)
    use(0)
    // The used ring names the other one, which was never given back.
    driver.access.setU32(driver.queue.areas.device + 4, 7)
    expect(find()).toBeUndefined()
  })

  it('says nothing about indexes that are too far apart', () => {
    driver.access.setU16(driver.queue.areas.driver + 2, SIZE + 1)
    expect(find()).toBeUndefined()
  })

  it('says nothing about heads that the table does not have', () => {
    take(1)
    driver.access.setU16(driver.queue.areas.driver + 4, SIZE)
    expect(find()).toBeUndefined()
  })

  it('says nothing about rings outside memory', () => {
    const areas = { ...driver.queue.areas, driver: 0x1_0000_0000_0000 }
    expect(findUnanswered(driver.space, areas, SIZE)).toBeUndefined()
  })
})

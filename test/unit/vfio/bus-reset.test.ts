import { describe, expect, it } from 'vitest'
import { type BusMate, type DependentDevice, groupsToReset, parseDependents } from '../../../src/vfio/bus-reset.ts'

function mate(address: string, group: number, isInUse = true): BusMate {
  return { address, group, groupFd: 100 + group, isInUse }
}

const CARD = mate('0000:01:00.0', 7)
const MATE = mate('0000:01:00.1', 7)
const IDLE_MATE = mate('0000:01:00.1', 7, false)
const OTHER = mate('0000:02:00.0', 8)

const hits = (...list: readonly (readonly [string, number])[]): readonly DependentDevice[] =>
  list.map(([address, group]) => ({ address, group }))

describe('groupsToReset', () => {
  it.each([
    ['the device alone', [CARD], hits([CARD.address, 7]), [107]],
    ['functions that nobody uses', [CARD], hits([CARD.address, 7], [MATE.address, 7]), [107]],
    [
      'a group that another device of the guest is in',
      [CARD, OTHER],
      hits([CARD.address, 7], ['0000:02:00.1', 8]),
      [107, 108],
    ],
    ['nothing', [CARD], [], undefined],
    ['a group that is not held', [CARD], hits([CARD.address, 7], [OTHER.address, 8]), undefined],
    ['another device of the machine', [CARD, IDLE_MATE], hits([CARD.address, 7], [MATE.address, 7]), [107]],
    ['another device of the guest', [CARD, MATE], hits([CARD.address, 7], [MATE.address, 7]), undefined],
  ])('for a reset that hits %s', (_, all, dependents, fds) => {
    expect(groupsToReset(CARD, all, dependents)).toEqual(fds)
  })
})

describe('parseDependents', () => {
  it('has address and group of each device that there are bytes for', () => {
    const view = new DataView(new ArrayBuffer(12 + 16))
    view.setUint32(8, 3, true)
    view.setUint32(12, 7, true)
    view.setUint16(16, 0x1, true)
    view.setUint8(18, 0x3a)
    view.setUint8(19, (0x1f << 3) | 6)
    view.setUint32(20, 8, true)
    expect(parseDependents(view)).toEqual([
      { group: 7, address: '0001:3a:1f.6' },
      { group: 8, address: '0000:00:00.0' },
    ])
  })
})

import { describe, expect, it } from 'vitest'
import { findCapabilities, findExtendedCapabilities } from '../../../src/vfio/capability-list.ts'
import { E1000E_CONFIG, EDU_CONFIG } from '../../support/vfio-config-bytes.ts'

/** e1000e's space with some bytes changed. */
function changed(...changes: readonly (readonly [at: number, ...bytes: number[]])[]): DataView {
  const bytes = E1000E_CONFIG.slice()
  for (const [at, ...values] of changes) bytes.set(values, at)
  return new DataView(bytes.buffer)
}

describe('findCapabilities', () => {
  it('follows the links, with the room that each has', () => {
    expect(findCapabilities(changed())).toEqual([
      { id: 1, version: 0, at: 0xc8, room: 8 },
      { id: 5, version: 0, at: 0xd0, room: 0x10 },
      { id: 0x10, version: 0, at: 0xe0, room: 0x20 },
      { id: 0x11, version: 0, at: 0xa0, room: 0x28 },
    ])
  })

  it.each([
    ['a status without a list', [0x06, 0x00], []],
    ['a link into the header', [0x34, 0x10], []],
    ['a link to itself', [0xc9, 0xc8], [0xc8]],
    ['a link that leads back', [0xe1, 0xc8], [0xc8, 0xd0, 0xe0]],
    ['a link with reserved bits', [0xc9, 0xd3], [0xc8, 0xd0, 0xe0, 0xa0]],
  ] as const)('copes with %s', (_name, change, places) => {
    expect(findCapabilities(changed(change)).map(({ at }) => at)).toEqual(places)
  })
})

describe('findExtendedCapabilities', () => {
  it('follows the links', () => {
    expect(findExtendedCapabilities(changed())).toEqual([
      { id: 1, version: 2, at: 0x100, room: 0x40 },
      { id: 3, version: 1, at: 0x140, room: 0xec0 },
    ])
  })

  it.each([
    ['no list', [0x100, 0, 0, 0, 0], []],
    ['a device that does not answer', [0x100, 0xff, 0xff, 0xff, 0xff], []],
    ['a link to itself', [0x142, 0x01, 0x14], [0x100, 0x140]],
    ['a link into conventional space', [0x142, 0x01, 0x04], [0x100, 0x140]],
  ] as const)('copes with %s', (_name, change, places) => {
    expect(findExtendedCapabilities(changed(change)).map(({ at }) => at)).toEqual(places)
  })

  it('finds nothing in 256 bytes', () => {
    expect(findExtendedCapabilities(new DataView(EDU_CONFIG.slice().buffer))).toEqual([])
  })
})

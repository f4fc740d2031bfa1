import { describe, expect, it } from 'vitest'
import { ConfigSpace } from '../../../src/pci/config-space.ts'

describe('ConfigSpace.read', () => {
  it.each([
    [0x10, 1, 0x78],
    [0x11, 1, 0x56],
    [0x12, 2, 0x1234],
    [0x10, 4, 0x1234_5678],
    [0xffc, 4, 0],
  ])('gives %i:%i as little-endian bytes', (offset, size, value) => {
    const config = new ConfigSpace()
    config.define(0x10, 4, 0x1234_5678)
    expect(config.read(offset, size)).toBe(value)
  })

  it('keeps bit 31 positive', () => {
    const config = new ConfigSpace()
    config.define(0x10, 4, 0xffff_fff0)
    expect(config.read(0x10, 4)).toBe(0xffff_fff0)
  })
})

describe('ConfigSpace.write', () => {
  it.each([
    ['a whole dword', 0x10, 4, 0xffff_ffff, 0xfffa_550f],
    ['a whole dword of zeros', 0x10, 4, 0, 0x000a_5500],
    ['a byte that is read-only', 0x11, 1, 0xff, 0xaaaa_5505],
    ['a byte that is partly writable', 0x10, 1, 0xff, 0xaaaa_550f],
    ['a word', 0x12, 2, 0x0f0f, 0x0f0a_5505],
  ])('changes only writable bits of %s', (_name, offset, size, value, result) => {
    const config = new ConfigSpace()
    config.define(0x10, 4, 0xaaaa_5505, 0xfff0_000f)
    config.write(offset, size, value)
    expect(config.read(0x10, 4)).toBe(result)
  })

  it('clears bits by ones, and only those written as one', () => {
    const config = new ConfigSpace()
    config.define(0x06, 2, 0, 0, 0xf900)
    config.view.setUint16(0x06, 0xf918, true)
    config.write(0x06, 2, 0x8018)
    expect(config.read(0x06, 2)).toBe(0x7918)
  })

  it('tells a hook of accesses that touch its register, with the offset from its start', () => {
    const calls: unknown[] = []
    const config = new ConfigSpace()
    config.onWrite(0x12, 2, (...call) => calls.push(call))
    config.write(0x10, 2, 1)
    config.write(0x10, 4, 0x1122_3344)
    config.write(0x13, 1, 5)
    config.write(0x14, 4, 1)
    expect(calls).toEqual([
      [-2, 4, 0x1122_3344],
      [1, 1, 5],
    ])
  })
})

describe('ConfigSpace.addCapability', () => {
  it('links capabilities in order, at dwords, and says in the status register that there are some', () => {
    const config = new ConfigSpace()
    expect(config.read(0x06, 2)).toBe(0)
    expect(config.addCapability({ bytes: new Uint8Array([9, 0xee, 5, 1, 2]) })).toBe(0x40)
    expect(config.addCapability({ bytes: new Uint8Array([0x11, 0xee, 0, 0]) })).toBe(0x48)
    expect(config.read(0x06, 2)).toBe(0x10)
    expect([config.read(0x34, 1), config.read(0x40, 4), config.read(0x44, 4), config.read(0x48, 4)]).toEqual([
      0x40, 0x0105_4809, 2, 0x11,
    ])
  })

  it('gives hooks the stored bytes, and answers with what they say', () => {
    const config = new ConfigSpace()
    const writes: unknown[] = []
    config.addCapability({
      bytes: new Uint8Array(20),
      writable: new Uint8Array(20).fill(0xff, 4, 8),
      onRead: (offset, size, stored) => (offset >= 16 ? stored.getUint8(4) * 100 + offset * 10 + size : undefined),
      onWrite: (offset, size, value, stored) => writes.push([offset, size, value, stored.getUint32(4, true)]),
    })
    config.write(0x44, 1, 3)
    expect(config.read(0x50, 2)).toBe(300 + 160 + 2)
    expect(config.read(0x44, 4)).toBe(3)
    expect(writes).toEqual([[4, 1, 3, 3]])
  })

  it('has room for 192 bytes', () => {
    const config = new ConfigSpace()
    config.addCapability({ bytes: new Uint8Array(192) })
    expect(() => config.addCapability({ bytes: new Uint8Array(4) })).toThrow('fit below 0x100')
  })
})

describe('ConfigSpace.addExtendedCapability', () => {
  it('starts at 0x100 and links them', () => {
    const config = new ConfigSpace()
    config.addExtendedCapability({ id: 0x0d, version: 1, bytes: new Uint8Array(8).fill(7, 4) })
    config.addExtendedCapability({ id: 0x03, version: 2, bytes: new Uint8Array(12) })
    expect(config.read(0x100, 4)).toBe(0x1081_000d)
    expect(config.read(0x104, 4)).toBe(0x0707_0707)
    expect(config.read(0x108, 4)).toBe(0x0002_0003)
  })
})

describe('ConfigSpace.reset', () => {
  it('brings back what was defined, capabilities and their links included', () => {
    const config = new ConfigSpace()
    config.define(0x04, 2, 0, 0x0406)
    config.addCapability({ bytes: new Uint8Array([9, 0, 1, 2]), writable: new Uint8Array([0, 0, 0xff, 0]) })
    const before = [config.read(0x04, 4), config.read(0x34, 1), config.read(0x40, 4)]
    config.write(0x04, 2, 0xffff)
    config.write(0x40, 4, 0xffff_ffff)
    expect(config.read(0x40, 4)).toBe(0x02ff_0009)
    config.reset()
    expect([config.read(0x04, 4), config.read(0x34, 1), config.read(0x40, 4)]).toEqual(before)
  })
})

describe('ConfigSpace capabilities at given offsets', () => {
  it('links them in the order in which they come', () => {
    const config = new ConfigSpace()
    config.addCapability({ bytes: new Uint8Array([9, 0, 4, 1]) }, 0xa0)
    config.addCapability({ bytes: new Uint8Array([5, 0, 0, 0]) }, 0x50)
    expect([0x34, 0xa1, 0x51].map(at => config.read(at, 1))).toEqual([0xa0, 0x50, 0])
    expect(config.addCapability({ bytes: new Uint8Array([9, 0, 3]) })).toBe(0xa4)
  })

  it('links extended ones', () => {
    const config = new ConfigSpace()
    config.addExtendedCapability({ id: 0, version: 0, bytes: new Uint8Array(4) }, 0x100)
    config.addExtendedCapability({ id: 3, version: 1, bytes: new Uint8Array(12) }, 0x140)
    expect([config.read(0x100, 4), config.read(0x140, 4)]).toEqual([0x1400_0000, 0x0001_0003])
  })
})

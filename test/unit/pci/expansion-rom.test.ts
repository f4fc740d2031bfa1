import { describe, expect, it } from 'vitest'
import { ConfigSpace } from '../../../src/pci/config-space.ts'
import { ExpansionRom } from '../../../src/pci/expansion-rom.ts'
import type { Bar, PciSlot } from '../../../src/pci/function.ts'

const GONE = -1

/** A ROM of 8 KiB with three bytes of content, and what a slot was told. */
function plugged() {
  const config = new ConfigSpace()
  config.define(4, 2, 0, 2)
  let fetches = 0
  const rom = new ExpansionRom(config, {
    name: 'rom',
    size: 0x2000,
    content: () => {
      fetches++
      return new Uint8Array([0x55, 0xaa, 0x81])
    },
  })
  config.onWrite(4, 2, () => rom.update())
  const places: (number | undefined)[] = []
  const bars: Bar[] = []
  const slot = {
    addBar: (bar: Bar) => {
      bars.push(bar)
      return { place: (address: number | undefined) => places.push(address), release: () => places.push(GONE) }
    },
  } as unknown as PciSlot
  rom.attach(slot)
  places.length = 0
  return { config, rom, places, handler: bars[0]?.handler, fetches: () => fetches }
}

describe('ExpansionRom', () => {
  it('tells its size as a base address register does', () => {
    const { config } = plugged()
    config.write(0x30, 4, 0xffff_fffe)
    expect(config.read(0x30, 4)).toBe(0xffff_e000)
  })

  it('is there while its enable bit and memory decoding are on', () => {
    const { config, places } = plugged()
    config.write(0x30, 4, 0xc000_2001)
    config.write(4, 2, 2)
    config.write(0x30, 4, 0xc000_2000)
    expect(places).toEqual([undefined, 0xc000_2000, undefined])
  })

  it('fetches its content once, and is erased behind it', () => {
    const { handler, fetches } = plugged()
    expect(fetches()).toBe(0)
    expect([handler?.read(0, 4), handler?.read(2, 1), handler?.read(0x1ffe, 2)]).toEqual([0xff81_aa55, 0x81, 0xffff])
    expect(fetches()).toBe(1)
  })

  it('does not take writes', () => {
    const { handler } = plugged()
    handler?.write(0, 4, 0)
    expect(handler?.read(0, 2)).toBe(0xaa55)
  })

  it('is away once closed', () => {
    const { rom, config, places } = plugged()
    rom.close()
    config.write(0x30, 4, 0xc000_2001)
    expect(places).toEqual([GONE])
  })

  it.each([0x800, 0x3000, 2 ** 25])('cannot have %i bytes', size => {
    expect(() => new ExpansionRom(new ConfigSpace(), { name: 'rom', size, content: () => new Uint8Array() })).toThrow(
      /power of two/,
    )
  })
})

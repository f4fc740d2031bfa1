import { describe, expect, it } from 'vitest'
import type { Bar } from '../../../src/pci/function.ts'
import { PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const MEMORY = 2
const BAR0 = 0x10
const COMMAND = 0x04

/** A machine with one endpoint that has `bars`, as device 1. */
function machineWith(bars: readonly Bar[]) {
  const machine = new PciMachine()
  machine.complex.add(testEndpoint({ bars, host: machine.host }))
  return machine
}

/** A BAR that remembers where it was put. */
function tracedBar(change: Partial<Bar> = {}) {
  const places: (number | undefined)[] = []
  return { places, bar: testBar({ onMap: address => places.push(address), ...change }) }
}

describe('Bars', () => {
  it.each([
    ['a page', testBar(), 0xffff_f000, 0],
    ['16 MiB, prefetchable', testBar({ size: 2 ** 24, prefetchable: true }), 0xff00_0008, 0],
    ['2 GiB', testBar({ size: 2 ** 31 }), 0x8000_0000, 0],
    ['64 bits', testBar({ size: 0x4000, kind: 'memory64' }), 0xffff_c004, 0xffff_ffff],
    [
      '64 bits, prefetchable, 4 GiB',
      testBar({ size: 2 ** 32, kind: 'memory64', prefetchable: true }),
      0xc,
      0xffff_ffff,
    ],
    ['64 bits, 16 GiB', testBar({ size: 2 ** 34, kind: 'memory64' }), 0x4, 0xffff_fffc],
  ])('lets a guest size a BAR of %s', (_name, bar, low, high) => {
    const machine = machineWith([bar])
    machine.write(0, 1, BAR0, 4, 0xffff_ffff)
    machine.write(0, 1, BAR0 + 4, 4, 0xffff_ffff)
    expect([machine.read(0, 1, BAR0, 4), machine.read(0, 1, BAR0 + 4, 4)]).toEqual([low, high])
  })

  it.each([
    ['bytes', 1, [0x00, 0x30, 0x12, 0xc0]],
    ['words', 2, [0x3000, 0xc012]],
  ])('takes an address in %s', (_name, size, parts) => {
    const machine = machineWith([testBar()])
    parts.forEach((part, i) => {
      machine.write(0, 1, BAR0 + i * size, size, part)
    })
    machine.write(0, 1, COMMAND, 1, MEMORY)
    expect(machine.mapped).toEqual([0xc012_3000])
  })

  it('reads as zero where there is no BAR, and for the ROM', () => {
    const machine = machineWith([testBar({ index: 5 })])
    machine.write(0, 1, BAR0, 4, 0xffff_ffff)
    machine.write(0, 1, 0x30, 4, 0xffff_ffff)
    expect([machine.read(0, 1, BAR0, 4), machine.read(0, 1, 0x30, 4)]).toEqual([0, 0])
  })

  it('decodes with the memory bit only, and tells the BAR', () => {
    const { places, bar } = tracedBar()
    const machine = machineWith([bar])
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    expect(machine.mapped).toEqual([])
    machine.write(0, 1, COMMAND, 2, MEMORY)
    expect(machine.mapped).toEqual([0xc000_0000])
    machine.write(0, 1, COMMAND, 2, 0)
    expect(machine.mapped).toEqual([])
    expect(places).toEqual([0xc000_0000, undefined])
  })

  it('moves a 64-bit BAR by its two halves, out of the windows in between', () => {
    const { places, bar } = tracedBar({ kind: 'memory64' })
    const machine = machineWith([bar])
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.write(0, 1, BAR0 + 4, 4, 0x80)
    machine.write(0, 1, BAR0, 4, 0x0000_2000)
    expect(places).toEqual([0xc000_0000, undefined, 0x80_c000_0000, undefined, 0x80_0000_2000])
    expect(machine.mapped).toEqual([0x80_0000_2000])
  })

  it('does nothing at writes that change nothing', () => {
    const { places, bar } = tracedBar()
    const machine = machineWith([bar])
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY | 4)
    expect(places).toEqual([0xc000_0000])
  })

  it.each([
    ['RAM', 0x1000_0000],
    ['nothing at all', 0],
    ['the end of the window', 0xdfff_f000 + 0x1000],
    ['what sizing leaves behind', 0xffff_f000],
  ])('stays off the bus over %s, with one line about it', (_name, address) => {
    const machine = machineWith([testBar()])
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.log.length = 0
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, BAR0, 4, address)
    machine.write(0, 1, COMMAND, 2, MEMORY | 4)
    expect(machine.mapped).toEqual([])
    expect(machine.log).toEqual([`pci: BAR 0 of test is at 0x${address.toString(16)}, where no bridge leads`])
  })

  it('says once that a BAR is in the way, whatever else moves', () => {
    const machine = machineWith([testBar(), testBar({ index: 1, name: 'second' }), testBar({ index: 2 })])
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, BAR0 + 4, 4, 0xc000_0000)
    machine.write(0, 1, BAR0 + 8, 4, 0xc000_1000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.write(0, 1, BAR0 + 8, 4, 0xc000_2000)
    expect(machine.log).toEqual(['pci: BAR 1 of second is at 0xc0000000, over another range'])
  })

  it('does not fill the log however often a BAR is moved', () => {
    const machine = machineWith([testBar()])
    machine.write(0, 1, COMMAND, 2, MEMORY)
    Array.from({ length: 100 }, (_, page) => machine.write(0, 1, BAR0, 4, 0x1000_0000 + 0x1000 * page))
    expect(machine.log).toHaveLength(64)
  })

  it('waits for room over another BAR and takes it as soon as that goes', () => {
    const first = tracedBar()
    const second = tracedBar({ index: 1, name: 'second' })
    const machine = machineWith([first.bar, second.bar])
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, BAR0 + 4, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    expect(machine.log).toEqual(['pci: BAR 1 of second is at 0xc0000000, over another range'])
    machine.write(0, 1, BAR0, 4, 0xc000_1000)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc000_1000])
    expect([first.places, second.places]).toEqual([[0xc000_0000, undefined, 0xc000_1000], [0xc000_0000]])
  })

  it('waits for room over a range that is no BAR', () => {
    const machine = machineWith([testBar()])
    machine.mmio.add({ name: 'fixed', start: 0xc000_0800, size: 4 }, testBar().handler)
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    expect(machine.mapped).toEqual([0xc000_0800])
  })

  it('leaves the bus for good when the function is unplugged', () => {
    const machine = new PciMachine()
    const { places, bar } = tracedBar()
    const endpoint = testEndpoint({ bars: [bar], host: machine.host })
    machine.complex.add(endpoint)
    machine.write(0, 1, BAR0, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.complex.root.remove(endpoint)
    expect(machine.mapped).toEqual([])
    expect(places.at(-1)).toBeUndefined()
    expect(machine.read(0, 1, 0, 4)).toBe(0xffff_ffff)
  })

  it.each([
    ['of a size that is no power of two', [testBar({ size: 0x3000 })], 'power of two'],
    ['below a page', [testBar({ size: 0x800 })], 'power of two of pages'],
    ['beyond the sixth register', [testBar({ index: 5, kind: 'memory64' })], 'six BARs'],
    ['over the upper half of another', [testBar({ kind: 'memory64' }), testBar({ index: 1 })], 'BAR 1 is free'],
    ['of 4 GiB in 32 bits', [testBar({ size: 2 ** 32 })], 'below 4 GiB'],
  ])('refuses a BAR %s', (_name, bars, message) => {
    expect(() => testEndpoint({ bars })).toThrow(message)
  })
})

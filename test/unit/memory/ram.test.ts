import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { holdRam, Ram, viewRam } from '../../../src/memory/ram.ts'

const GIB = 2 ** 30

describe('Ram', () => {
  it.each([
    ['goes with its owner', false],
    ['stays mapped while an operation of the kernel may use it', true],
  ])('%s', (_, isHeld) => {
    const ram = Ram.create([{ start: 0, size: 4096 }])
    const address = ram.blocks[0]!.hostAddress.toString(16).padStart(8, '0')
    const hold = isHeld ? holdRam : () => {}
    hold(ram.hold)
    ram[Symbol.dispose]()
    const mappings = readFileSync('/proc/self/maps', 'latin1').split('\n')
    const found = mappings.filter(line => line.startsWith(`${address}-`) && line.includes('bulkhead-ram'))
    expect(found).toHaveLength(isHeld ? 1 : 0)
  })
})

describe('viewRam', () => {
  it('joins windows of 1 GiB into one range', () => {
    using ram = Ram.create([{ start: 0, size: 3 * GIB }])
    const memory = viewRam(ram.blocks)
    expect(memory.write(2 * GIB - 2, new Uint8Array([1, 2, 3, 4]))).toBe(true)
    expect([...memory.read(2 * GIB - 3, 6)!]).toEqual([0, 1, 2, 3, 4, 0])
    expect(memory.contains(3 * GIB - 1, 1)).toBe(true)
    expect(memory.contains(3 * GIB - 1, 2)).toBe(false)
  })

  it('backs each range with memory of its own', () => {
    using ram = Ram.create([
      { start: 0, size: 4096 },
      { start: 4 * GIB, size: 8192 },
    ])
    const memory = viewRam(ram.blocks)
    memory.write(4 * GIB, new Uint8Array([7]))
    expect(memory.read(0, 1)![0]).toBe(0)
    expect(memory.read(4 * GIB, 1)![0]).toBe(7)
    expect(memory.contains(4096, 1)).toBe(false)
  })

  it('sees what another view of the same blocks wrote', () => {
    using ram = Ram.create([{ start: 0, size: 4096 }])
    viewRam(ram.blocks).write(100, new Uint8Array([5]))
    expect(viewRam(ram.blocks).read(100, 1)![0]).toBe(5)
  })
})

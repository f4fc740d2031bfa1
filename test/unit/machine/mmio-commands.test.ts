import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { Bus } from '../../../src/bus/bus.ts'
import { isMmioCommand, mmioCommand } from '../../../src/machine/mmio-commands.ts'

const START = 0xc000_0000

/** A bus with 16 bytes of registers, which log what they are asked. */
function registers() {
  const log: string[] = []
  const bus = new Bus('mmio')
  bus.add(
    { name: 'test', start: START, size: 16 },
    {
      read: (offset, size) => {
        log.push(`r${offset}:${size}`)
        return 0x8765_4321
      },
      write: (offset, size, value) => void log.push(`w${offset}:${size}=${value.toString(16)}`),
    },
  )
  return { bus, log }
}

describe('isMmioCommand', () => {
  it.each([
    ['mmioRead', true],
    ['mmioWrite', true],
    ['statistics', false],
  ])('knows %s: %s', (method, expected) => {
    expect(isMmioCommand(method)).toBe(expected)
  })
})

describe('mmioCommand', () => {
  it.each([
    [1, '0x21', ['r4:1']],
    [2, '0x4321', ['r4:2']],
    [4, '0x87654321', ['r4:4']],
    [8, '0x8765432187654321', ['r4:4', 'r8:4']],
  ])('reads %d bytes as the bus does', (size, value, asked) => {
    const { bus, log } = registers()
    expect(mmioCommand(bus, 'mmioRead', { address: START + 4, size })).toBe(value)
    expect(log).toEqual(asked)
  })

  it.each([
    [1, '0xff', ['w0:1=ff']],
    [4, '0xffffffff', ['w0:4=ffffffff']],
    [8, '0xfedcba9876543210', ['w0:4=76543210', 'w4:4=fedcba98']],
  ])('writes %d bytes', (size, value, asked) => {
    const { bus, log } = registers()
    expect(mmioCommand(bus, 'mmioWrite', { address: START, size, value })).toBe(null)
    expect(log).toEqual(asked)
  })

  it.each([
    ['mmioRead', { address: '0', size: 4 }, 'a register has an address below 2^53'],
    ['mmioRead', { address: -1, size: 4 }, 'a register has an address below 2^53'],
    ['mmioRead', { address: START, size: 3 }, 'a register has 1, 2, 4 or 8 bytes'],
    ['mmioRead', { address: START }, 'a register has 1, 2, 4 or 8 bytes'],
    ['mmioRead', { address: 0x1000, size: 4 }, 'no device has 4 bytes of registers at 0x1000'],
    ['mmioRead', { address: START + 14, size: 4 }, 'no device has 4 bytes of registers at 0xc000000e'],
    ['mmioWrite', { address: START, size: 1, value: '0x100' }, 'is a number of at most 8 bits'],
    ['mmioWrite', { address: START, size: 1, value: '-1' }, 'is a number of at most 8 bits'],
    ['mmioWrite', { address: START, size: 1 }, 'is a number of at most 8 bits'],
  ])('refuses %s %j', (method, params, message) => {
    const { bus, log } = registers()
    expect(() => mmioCommand(bus, method, params)).toThrow(BadInput)
    expect(() => mmioCommand(bus, method, params)).toThrow(message)
    expect(log).toEqual([])
  })
})

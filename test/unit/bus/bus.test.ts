import { describe, expect, it } from 'vitest'
import { Bus, type BusHandler, isPosted } from '../../../src/bus/bus.ts'
import { seededRandom } from '../devices/surroundings.ts'

/** A handler that logs its accesses and reads the low bytes of a fixed value. */
function recorder(accessSize?: 1 | 2 | 4 | 8, value = 0x44332211) {
  const log: string[] = []
  const handler: BusHandler = {
    ...(accessSize === undefined ? {} : { accessSize }),
    read: (offset, size) => {
      log.push(`r${offset}:${size}`)
      return value
    },
    write: (offset, size, written) => {
      log.push(`w${offset}:${size}=${written.toString(16)}`)
    },
  }
  return { log, handler }
}

describe('Bus.add', () => {
  it.each([
    ['covers another', 0x0f, 3],
    ['starts inside another', 0x13, 4],
    ['ends inside another', 0x0c, 5],
  ])('refuses a range that %s', (_name, start, size) => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 4 }, recorder().handler)
    expect(() => bus.add({ name: 'b', start, size }, recorder().handler)).toThrow('overlaps')
  })

  it.each([
    [-1, 1],
    [0.5, 1],
    [0, 0],
    [0, Number.NaN],
  ])('refuses start %d with size %d', (start, size) => {
    expect(() => new Bus('test').add({ name: 'a', start, size }, recorder().handler)).toThrow('internal error')
  })

  it('takes adjacent ranges and lists them by address with their hints', () => {
    const bus = new Bus('test')
    bus.add({ name: 'b', start: 0x14, size: 4, silent: true }, recorder().handler)
    bus.add({ name: 'a', start: 0x10, size: 4, posted: [0] }, recorder().handler)
    expect(bus.ranges()).toEqual([
      { name: 'a', start: 0x10, size: 4, posted: [0] },
      { name: 'b', start: 0x14, size: 4, silent: true },
    ])
  })
})

describe('Bus.read', () => {
  it.each([
    [1, 0xff],
    [2, 0xffff],
    [4, 0xffff_ffff],
    [8, 2 ** 64],
  ])('gives ones for %i unmapped bytes', (size, ones) => {
    expect(new Bus('test').read(0x80, size)).toBe(ones)
  })

  it('cuts what a handler answers to the access size', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0, size: 4 }, recorder(4, 0x1_2345_6789).handler)
    expect([bus.read(0, 1), bus.read(0, 2), bus.read(0, 4)]).toEqual([0x89, 0x6789, 0x2345_6789])
  })

  it('splits 8 bytes into two halves, low first', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder()
    bus.add({ name: 'a', start: 0x1000, size: 16 }, handler)
    expect(bus.read(0x1008, 8)).toBe(0x44332211 * 2 ** 32 + 0x44332211)
    expect(log).toEqual(['r8:4', 'r12:4'])
  })

  it('gives 8 bytes whole to a handler that takes them', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder(8, 0x1_0000_0002)
    bus.add({ name: 'a', start: 0, size: 8 }, handler)
    expect(bus.read(0, 8)).toBe(0x1_0000_0002)
    expect(log).toEqual(['r0:8'])
  })

  it('splits for a byte-wide handler', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder(1, 0x5a)
    bus.add({ name: 'a', start: 0x70, size: 2 }, handler)
    expect(bus.read(0x70, 2)).toBe(0x5a5a)
    expect(log).toEqual(['r0:1', 'r1:1'])
  })

  it('fills up with ones what lies behind the end of a range', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 2 }, recorder(4, 0).handler)
    expect(bus.read(0x11, 4)).toBe(0xffff_ff00)
    expect(bus.read(0x0f, 2)).toBe(0x00ff)
  })

  it('reaches both devices across a boundary', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 2 }, recorder(4, 0x11).handler)
    bus.add({ name: 'b', start: 0x12, size: 2 }, recorder(4, 0x22).handler)
    expect(bus.read(0x11, 2)).toBe(0x2211)
  })

  it('splits an odd-sized access, misaligned or not, into powers of two', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder()
    bus.add({ name: 'a', start: 0, size: 16 }, handler)
    bus.read(1, 7)
    bus.read(0, 3)
    expect(log).toEqual(['r1:4', 'r5:2', 'r7:1', 'r0:2', 'r2:1'])
  })
})

describe('Bus.write', () => {
  it('cuts the value to the access size', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder()
    bus.add({ name: 'a', start: 0, size: 8 }, handler)
    bus.write(0, 1, 0x1ff)
    bus.write(0, 4, -1)
    expect(log).toEqual(['w0:1=ff', 'w0:4=ffffffff'])
  })

  it('splits 8 bytes into two halves, low first', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder()
    bus.add({ name: 'a', start: 0, size: 8 }, handler)
    bus.write(0, 8, 0x12_3456_789a)
    expect(log).toEqual(['w0:4=3456789a', 'w4:4=12'])
  })

  it('ignores an unmapped address', () => {
    expect(() => new Bus('test').write(0x80, 4, 1)).not.toThrow()
  })

  it('looks each piece up anew, as a piece may move a range', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder(1)
    bus.add({ name: 'a', start: 0, size: 1 }, { accessSize: 1, read: () => 0, write: () => void bus.move(8, 1) })
    bus.add({ name: 'b', start: 8, size: 1 }, handler)
    bus.write(0, 2, 0xbbaa)
    expect(log).toEqual(['w0:1=bb'])
  })
})

describe('Bus.readInto and writeFrom', () => {
  it('carry all 64 bits', () => {
    const bus = new Bus('test')
    const memory = new DataView(new ArrayBuffer(8))
    bus.add(
      { name: 'a', start: 0, size: 8 },
      {
        read: offset => memory.getUint32(offset, true),
        write: (offset, _size, value) => memory.setUint32(offset, value, true),
      },
    )
    const view = new DataView(new ArrayBuffer(24))
    view.setBigUint64(8, 0xfedc_ba98_7654_3211n, true)
    bus.writeFrom(0, 8, view, 8)
    bus.readInto(0, 8, view, 16)
    expect(view.getBigUint64(16, true)).toBe(0xfedc_ba98_7654_3211n)
  })

  it('give exactly ones for unmapped bytes', () => {
    const view = new DataView(new ArrayBuffer(8))
    new Bus('test').readInto(0, 8, view, 0)
    expect(view.getBigUint64(0, true)).toBe(0xffff_ffff_ffff_ffffn)
  })
})

describe('Bus.move', () => {
  it('takes hints and handler along', () => {
    const bus = new Bus('test')
    const { log, handler } = recorder()
    bus.add({ name: 'bar', start: 0x1000, size: 0x100, posted: 'all' }, handler)
    expect(bus.read(0x1004, 4)).toBe(0x44332211)
    expect(bus.move(0x1000, 0x8_0000_0000)).toBe(true)
    expect(bus.read(0x1004, 4)).toBe(0xffff_ffff)
    expect(bus.read(0x8_0000_0004, 4)).toBe(0x44332211)
    expect(bus.ranges()).toEqual([{ name: 'bar', start: 0x8_0000_0000, size: 0x100, posted: 'all' }])
    expect(log).toEqual(['r4:4', 'r4:4'])
  })

  it('refuses a collision and leaves the range where it was', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 0x10 }, recorder(4, 1).handler)
    bus.add({ name: 'b', start: 0x20, size: 0x10 }, recorder(4, 2).handler)
    expect(bus.move(0x20, 0x18)).toBe(false)
    expect(bus.read(0x20, 1)).toBe(2)
  })

  it('allows a range to overlap its own old place', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 0x10 }, recorder(4, 1).handler)
    expect(bus.move(0x10, 0x18)).toBe(true)
    expect([bus.read(0x17, 1), bus.read(0x27, 1)]).toEqual([0xff, 1])
  })
})

describe('Bus.remove', () => {
  it('unmaps, also right after a hit', () => {
    const bus = new Bus('test')
    bus.add({ name: 'a', start: 0x10, size: 1 }, recorder(4, 1).handler)
    bus.read(0x10, 1)
    bus.remove(0x10)
    expect(bus.read(0x10, 1)).toBe(0xff)
  })

  it('refuses an address where no range starts', () => {
    expect(() => new Bus('test').remove(0x10)).toThrow('a range starts at 0x10')
  })
})

describe('Bus lookup', () => {
  it('finds the same ranges as a plain search, in any order of access', () => {
    const random = seededRandom(1)
    const bus = new Bus('test')
    const owners = new Map<number, number>()
    for (let i = 0; i < 200; i++) {
      const start = 20 * i + (random() % 5)
      const size = 1 + (random() % 16)
      bus.add({ name: `${i}`, start, size }, recorder(1, i).handler)
      for (let at = start; at < start + size; at++) owners.set(at, i)
    }
    const addresses = Array.from({ length: 20_000 }, () => random() % 4200)
    expect(addresses.map(address => bus.read(address, 1))).toEqual(
      addresses.map(address => owners.get(address) ?? 0xff),
    )
  })
})

describe('Bus debug log', () => {
  it('names each unmapped address once and stops at 64', () => {
    const lines: string[] = []
    const bus = new Bus('port', line => lines.push(line))
    bus.read(0x2e, 1)
    bus.write(0x2e, 1, 0)
    expect(lines).toEqual(['port: read of unmapped address 0x2e'])
    for (let port = 0x100; port < 0x200; port++) bus.read(port, 1)
    expect(lines).toHaveLength(64)
  })
})

describe('isPosted', () => {
  it.each([
    ['all', 3, 4, true],
    [undefined, 0, 1, false],
    [[0], 0, 1, true],
    [[0], 0, 2, false],
    [[0], 1, 1, false],
    [[0, 1], 0, 2, true],
  ] as const)('with %j, offset %i, size %i is %s', (posted, offset, size, expected) => {
    const range = { name: 'a', start: 0, size: 8, ...(posted === undefined ? {} : { posted }) }
    expect(isPosted(range, offset, size)).toBe(expected)
  })
})

describe('Bus', () => {
  it('tells of every change of its ranges, when it is made', () => {
    const seen: (readonly number[])[] = []
    const bus: Bus = new Bus('test', undefined, () => seen.push(bus.ranges().map(range => range.start)))
    bus.add({ name: 'a', start: 0x10, size: 4 }, recorder().handler)
    bus.add({ name: 'b', start: 0x20, size: 4 }, recorder().handler)
    bus.move(0x10, 0x30)
    bus.move(0x20, 0x2d)
    bus.remove(0x20)
    expect(seen).toEqual([[0x10], [0x10, 0x20], [0x20, 0x30], [0x30]])
  })
})

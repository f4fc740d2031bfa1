import { describe, expect, it } from 'vitest'
import { PortRoute, RouteTable } from '../../../src/machine/routes.ts'

const serial = { name: 'serial', start: 0x3f8, size: 8, posted: [0] }

describe('RouteTable', () => {
  it('knows for each port whether writes wait', () => {
    const table = RouteTable.create()
    table.setPorts([
      serial,
      { name: 'delay', start: 0x80, size: 1, posted: 'all' },
      { name: 'last', start: 0xffff, size: 1 },
    ])
    const routes = [0x3f7, 0x3f8, 0x3f9, 0x3ff, 0x400, 0x80, 0xffff].map(port => table.port(port))
    const { unmapped, sync, posted } = PortRoute
    expect(routes).toEqual([unmapped, posted, sync, sync, unmapped, posted, sync])
  })

  it('takes a silent range for unmapped', () => {
    const table = RouteTable.create()
    table.setPorts([{ name: 'silent', start: 0x60, size: 4, silent: true }])
    expect(table.port(0x61)).toBe(PortRoute.unmapped)
  })

  it('forgets the ranges that were there before', () => {
    const table = RouteTable.create()
    table.setPorts([serial])
    table.setPorts([])
    expect(table.port(0x3f8)).toBe(PortRoute.unmapped)
  })

  it('shows a mirrored register until it is withdrawn, whatever the routes do', () => {
    const table = RouteTable.create()
    const mirror = table.mirrorAt(0x3f8)
    mirror.publish(5, 0x60)
    table.setPorts([serial])
    expect(table.port(0x3fd)).toBe(PortRoute.sync | PortRoute.mirrored)
    expect(table.mirror(0x3fd)).toBe(0x60)
    mirror.publish(5, 0xff)
    expect(table.mirror(0x3fd)).toBe(0xff)
    mirror.withdraw(5)
    expect(table.port(0x3fd)).toBe(PortRoute.sync)
  })

  it('is one table in every thread that has its memory', () => {
    const table = RouteTable.create()
    const other = new RouteTable(table.shared)
    table.setPorts([serial])
    table.setMmio([{ name: 'bar', start: 2 ** 33, size: 4096 }])
    expect(other.port(0x3f9)).toBe(PortRoute.sync)
    expect(other.hasMmio(2 ** 33)).toBe(true)
  })

  it('finds an MMIO address inside a range and not beside it', () => {
    const table = RouteTable.create()
    table.setMmio([
      { name: 'low', start: 0xc000_0000, size: 4096 },
      { name: 'high', start: 2 ** 52, size: 16 },
    ])
    const addresses = [0xbfff_ffff, 0xc000_0000, 0xc000_0fff, 0xc000_1000, 2 ** 52 - 1, 2 ** 52 + 15, 2 ** 52 + 16]
    expect(addresses.map(address => table.hasMmio(address))).toEqual([false, true, true, false, false, true, false])
    table.setMmio([])
    expect(table.hasMmio(0xc000_0000)).toBe(false)
  })

  it('refuses more MMIO ranges than it has room for', () => {
    const ranges = Array.from({ length: 257 }, (_, i) => ({ name: 'r', start: i * 16, size: 16 }))
    const table = RouteTable.create()
    expect(() => table.setMmio(ranges)).toThrow('at most 256 MMIO ranges')
    table.setMmio(ranges.slice(1))
    expect([0, 16, 4096, 4111, 4112].map(address => table.hasMmio(address))).toEqual([false, true, true, true, false])
  })
})

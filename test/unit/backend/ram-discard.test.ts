import { fstatSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { RamDiscard } from '../../../src/backend/ram-discard.ts'
import { Ram, viewRam } from '../../../src/memory/ram.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

/** 1 MiB from 0 and 1 MiB from 4 GiB, every byte of it 0xaa. */
function filledRam() {
  const ram = Ram.create([
    { start: 0, size: MIB },
    { start: 4 * GIB, size: MIB },
  ])
  const memory = viewRam(ram.blocks)
  memory.write(0, new Uint8Array(MIB).fill(0xaa))
  memory.write(4 * GIB, new Uint8Array(MIB).fill(0xaa))
  const warnings: string[] = []
  const byteAt = (address: number) => memory.read(address, 1)![0]
  const keptBytes = () => fstatSync(ram.fd).blocks * 512
  return { ram, warnings, byteAt, keptBytes, discard: new RamDiscard(ram.fd, ram.blocks, line => warnings.push(line)) }
}

describe('RamDiscard', () => {
  it('gives memory back to the host, and it reads as zeros', () => {
    const { ram, byteAt, keptBytes, discard } = filledRam()
    using _ = ram
    expect(keptBytes()).toBe(2 * MIB)
    discard.discard(0x1_0000, 0x2_0000)
    expect(keptBytes()).toBe(2 * MIB - 0x2_0000)
    expect([0xffff, 0x1_0000, 0x2_ffff, 0x3_0000].map(byteAt)).toEqual([0xaa, 0, 0, 0xaa])
  })

  it('finds memory above 4 GiB in its place of the file', () => {
    const { ram, byteAt, discard } = filledRam()
    using _ = ram
    discard.discard(4 * GIB, 0x1000)
    expect([0, MIB - 1, 4 * GIB, 4 * GIB + 0xfff, 4 * GIB + 0x1000].map(byteAt)).toEqual([0xaa, 0xaa, 0, 0, 0xaa])
  })

  it.each([
    ['behind a block', MIB, MIB],
    ['behind all blocks', 4 * GIB + MIB, MIB],
    ['of no size', 0, 0],
  ])('touches nothing for a range %s', (_, start, size) => {
    const { ram, keptBytes, discard, warnings } = filledRam()
    using _ram = ram
    discard.discard(start, size)
    expect(keptBytes()).toBe(2 * MIB)
    expect(warnings).toEqual([])
  })

  it('cuts a range off where RAM ends, and goes on in the next block', () => {
    const { ram, keptBytes, byteAt, discard } = filledRam()
    using _ = ram
    discard.discard(MIB - 0x1000, 4 * GIB)
    expect(keptBytes()).toBe(2 * MIB - 0x1000 - (MIB - 0x1000))
    expect(byteAt(4 * GIB + MIB - 1)).toBe(0xaa)
  })

  it('says once that the host refuses', () => {
    const { ram, warnings } = filledRam()
    using _ = ram
    const discard = new RamDiscard(-1, ram.blocks, line => warnings.push(line))
    discard.discard(0, 0x1000)
    discard.discard(0x1000, 0x1000)
    expect(warnings).toEqual([expect.stringContaining('fallocate(memfd) failed: EBADF')])
  })
})

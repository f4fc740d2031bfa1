import { afterAll, beforeAll, expect, it } from 'vitest'
import { BareGuest, DEVICE, SCRATCH } from '../support/bare-guest.ts'
import { missingKvm, missingPageTableKvm } from '../support/kvm-host.ts'
import { Assembler, le32 } from '../support/micro-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { Watchdog } from '../support/watchdog.ts'

const PORT = 0x510
const VALUE = 0x4433_2211
const OPERAND_16 = 0x66

let watchdog: Watchdog
beforeAll(() => {
  watchdog = new Watchdog()
})
afterAll(() => watchdog[Symbol.asyncDispose]())

const guest = (code: Assembler) => new BareGuest(code.exit(0).code(), watchdog)
/** Bytes 0xa0, 0xa1, ... for a read, whatever its size. */
const counting = (_: number, size: number) => new Uint8Array(size).map((_byte, i) => 0xa0 + i)

describeUnless(missingKvm(), 'port exits', () => {
  it.each([
    [1, [0xee], '11'],
    [2, [OPERAND_16, 0xef], '1122'],
    [4, [0xef], '11223344'],
  ])('carry a write of %d bytes', (size, out, hex) => {
    using bare = guest(
      new Assembler()
        .eax(VALUE)
        .edx(PORT)
        .raw(...out),
    )
    expect(bare.run()).toEqual([{ at: PORT, write: true, size, hex }])
  })

  it.each([
    [1, [0xec], 0x4433_22a0],
    [2, [OPERAND_16, 0xed], 0x4433_a1a0],
    [4, [0xed], 0xa3a2_a1a0],
  ])('carry a read of %d bytes, and leave the rest of the register', (size, input, register) => {
    using bare = guest(
      new Assembler()
        .eax(VALUE)
        .edx(PORT)
        .raw(...input)
        .store(SCRATCH),
    )
    expect(bare.run(counting)).toEqual([{ at: PORT, write: false, size, hex: 'a0a1a2a3'.slice(0, 2 * size) }])
    expect(bare.word(SCRATCH)).toBe(register)
  })

  it.each([
    [1, [0xf3, 0x6e]],
    [2, [0xf3, OPERAND_16, 0x6f]],
    [4, [0xf3, 0x6f]],
  ])('carry every element of a string written by %d bytes', (size, outs) => {
    using bare = guest(
      new Assembler()
        .esi(SCRATCH)
        .ecx(100)
        .edx(PORT)
        .raw(0xfc, ...outs),
    )
    const bytes = new Uint8Array(100 * size).map((_, i) => i * 7)
    bare.memory.write(SCRATCH, bytes)
    const accesses = bare.run()
    expect(accesses.map(access => access.hex).join('')).toBe(Buffer.from(bytes).toString('hex'))
    expect(new Set(accesses.map(access => `${access.at} ${access.write} ${access.size}`))).toEqual(
      new Set([`${PORT} true ${size}`]),
    )
  })

  it.each([
    [1, [0xf3, 0x6c]],
    [2, [0xf3, OPERAND_16, 0x6d]],
    [4, [0xf3, 0x6d]],
  ])('carry every element of a string read by %d bytes', (size, ins) => {
    using bare = guest(
      new Assembler()
        .edi(SCRATCH)
        .ecx(100)
        .edx(PORT)
        .raw(0xfc, ...ins),
    )
    let next = 0
    const accesses = bare.run((_, length) => new Uint8Array(length).map(() => next++ % 251))
    const expected = new Uint8Array(100 * size).map((_, i) => i % 251)
    expect(accesses.every(access => !access.write && access.size === size)).toBe(true)
    expect(bare.memory.read(SCRATCH, 100 * size)).toEqual(expected)
    expect(bare.word(SCRATCH + 100 * size)).toBe(0)
  })
})

describeUnless(missingKvm(), 'MMIO exits', () => {
  it.each([
    [1, [0xa2], '11'],
    [2, [OPERAND_16, 0xa3], '1122'],
    [4, [0xa3], '11223344'],
  ])('carry a write of %d bytes', (size, move, hex) => {
    using bare = guest(new Assembler().eax(VALUE).raw(...move, ...le32(DEVICE + 8)))
    expect(bare.run()).toEqual([{ at: DEVICE + 8, write: true, size, hex }])
  })

  it.each([
    [1, [0xa0], 0x4433_22a0],
    [2, [OPERAND_16, 0xa1], 0x4433_a1a0],
    [4, [0xa1], 0xa3a2_a1a0],
  ])('carry a read of %d bytes, and leave the rest of the register', (size, move, register) => {
    using bare = guest(
      new Assembler()
        .eax(VALUE)
        .raw(...move, ...le32(DEVICE + 8))
        .store(SCRATCH),
    )
    expect(bare.run(counting)).toEqual([{ at: DEVICE + 8, write: false, size, hex: 'a0a1a2a3'.slice(0, 2 * size) }])
    expect(bare.word(SCRATCH)).toBe(register)
  })

  it('carry 8 bytes at once in both directions', () => {
    // movq mm0, [DEVICE]; movq [SCRATCH], mm0; movq [DEVICE + 8], mm0
    const code = new Assembler()
      .raw(0x0f, 0x6f, 0x05, ...le32(DEVICE))
      .raw(0x0f, 0x7f, 0x05, ...le32(SCRATCH))
      .raw(0x0f, 0x7f, 0x05, ...le32(DEVICE + 8))
    using bare = guest(code)
    const hex = 'a0a1a2a3a4a5a6a7'
    expect(bare.run(counting)).toEqual([
      { at: DEVICE, write: false, size: 8, hex },
      { at: DEVICE + 8, write: true, size: 8, hex },
    ])
    expect(Buffer.from(bare.memory.read(SCRATCH, 8)!).toString('hex')).toBe(hex)
  })

  it('carry every byte of an access across the end of RAM', () => {
    const end = 4 * 2 ** 20
    using bare = guest(new Assembler().eax(VALUE).store(end - 2))
    const accesses = bare.run()
    expect(accesses.map(access => access.hex).join('')).toBe('3344')
    expect(accesses[0]).toMatchObject({ at: end, write: true })
    expect([...bare.memory.read(end - 2, 2)!]).toEqual([0x11, 0x22])
  })

  it('carry a write to read-only memory, and not a read of it', () => {
    using bare = guest(new Assembler().load(DEVICE).eax(VALUE).store(DEVICE))
    const hostAddress = bare.hostAddress + SCRATCH
    bare.vm.setMemory({ slot: 5, guestAddress: DEVICE, sizeBytes: 4096, hostAddress, readOnly: true })
    expect(bare.run()).toEqual([{ at: DEVICE, write: true, size: 4, hex: '11223344' }])
  })
})

describeUnless(missingKvm(), 'exits that end a guest', () => {
  it('are a shutdown after an exception without a handler', () => {
    using bare = guest(new Assembler().raw(0x0f, 0x0b))
    expect(bare.enter()).toEqual({ kind: 'shutdown' })
  })
})

describeUnless(missingPageTableKvm(), 'exits of an emulator', () => {
  it.each([
    ['int3', [0xcc]],
    ['popcnt eax, eax', [0xf3, 0x0f, 0xb8, 0xc0]],
  ])('are an internal error where it does not know %s', (_, instruction) => {
    using bare = guest(new Assembler().raw(...instruction))
    expect(bare.enter()).toMatchObject({ kind: 'internalError', suberror: 1 })
  })
})

import { describe, expect, it } from 'vitest'
import { ConfigSpace } from '../../../src/pci/config-space.ts'
import { Msi, type MsiForm, msiForm } from '../../../src/pci/msi.ts'
import { FakePciHost } from '../../support/pci-host.ts'

const ENABLE = 1
const AT = 0x40
const FORM: MsiForm = { messages: 4, is64Bit: true, isMaskable: true }

/** A capability in a space, of a function that is a bus master. */
function withMsi(change: Partial<MsiForm> = {}) {
  const host = new FakePciHost()
  const config = new ConfigSpace()
  const state = { isMaster: true, changes: 0 }
  const msi = new Msi(
    { ...FORM, ...change },
    host,
    () => 0x18,
    () => state.isMaster,
    () => {
      state.changes++
    },
  )
  config.addCapability(msi.capability)
  return {
    msi,
    state,
    vectors: host.vectors,
    read: (offset: number, size: number) => config.read(AT + offset, size),
    write: (offset: number, size: number, value: number) => config.write(AT + offset, size, value),
    messages: () => host.vectors.map(({ message }) => message?.data),
  }
}

/** A guest wrote address and data, and allowed messages: a power of two, by its exponent. */
function programmed(exponent: number) {
  const parts = withMsi()
  parts.write(4, 4, 0xfee0_1000)
  parts.write(8, 4, 1)
  parts.write(12, 2, 0x4047)
  parts.write(2, 2, ENABLE | (exponent << 4))
  return parts
}

describe('msiForm', () => {
  it.each([
    [0x0000, { messages: 1, is64Bit: false, isMaskable: false }],
    [0x0080, { messages: 1, is64Bit: true, isMaskable: false }],
    [0x018a, { messages: 32, is64Bit: true, isMaskable: true }],
    [0x010e, { messages: 32, is64Bit: false, isMaskable: true }],
    [0x0071, { messages: 1, is64Bit: false, isMaskable: false }],
  ])('reads %i', (flags, form) => {
    expect(msiForm(flags)).toEqual(form)
  })
})

describe('Msi', () => {
  it.each([
    ['32 bits', { is64Bit: false, isMaskable: false }, 10, 0x0004],
    ['64 bits', { is64Bit: true, isMaskable: false }, 14, 0x0084],
    ['32 bits with masks', { is64Bit: false, isMaskable: true }, 20, 0x0104],
    ['64 bits with masks', { is64Bit: true, isMaskable: true }, 24, 0x0184],
  ])('has the layout of %s', (_name, form, size, control) => {
    const { msi, read } = withMsi(form)
    expect(msi.capability.bytes).toHaveLength(size)
    expect([read(0, 1), read(2, 2)]).toEqual([5, control])
  })

  it.each([
    ["the bits of control that are a guest's", 2, 2, 0xffff, 0x01f5],
    ['an aligned address', 4, 4, 0xffff_ffff, 0xffff_fffc],
    ['the upper address', 8, 4, 0xffff_ffff, 0xffff_ffff],
    ['16 bits of data', 12, 4, 0xffff_ffff, 0xffff],
    ['masks of messages that there are', 16, 4, 0xffff_ffff, 0xf],
    ['no pending bits', 20, 4, 0xffff_ffff, 0],
  ])('takes %s', (_name, offset, size, value, stored) => {
    const { read, write } = withMsi()
    write(offset, size, value)
    expect(read(offset, size)).toBe(stored)
  })

  it('connects as many messages as the guest allows, by the low bits of the data', () => {
    const { messages, vectors } = programmed(1)
    expect(messages()).toEqual([0x4046, 0x4047, undefined, undefined])
    expect(vectors[1]?.message?.address).toBe(0x1_fee0_1000)
  })

  it('connects all of them', () => {
    expect(programmed(2).messages()).toEqual([0x4044, 0x4045, 0x4046, 0x4047])
  })

  it('allows no more messages than there are', () => {
    const { msi, messages } = programmed(7)
    expect(msi.count).toBe(4)
    expect(messages()).toEqual([0x4044, 0x4045, 0x4046, 0x4047])
  })

  it('takes the data without an upper address where the function has none', () => {
    const { write, vectors } = withMsi({ is64Bit: false, isMaskable: false })
    write(4, 4, 0xfee0_1000)
    write(8, 2, 0x40)
    write(2, 2, ENABLE)
    expect(vectors[0]?.message).toEqual({ address: 0xfee0_1000, data: 0x40 })
  })

  it('connects nothing before it is enabled, and nothing after it', () => {
    const { write, vectors, messages } = programmed(0)
    expect(vectors[0]?.connects).toEqual([{ address: 0x1_fee0_1000, data: 0x4047 }])
    write(2, 2, 0)
    expect(messages()).toEqual([undefined, undefined, undefined, undefined])
  })

  it('keeps a masked message pending, and delivers it at the unmask', () => {
    const { write, read, vectors } = programmed(2)
    write(16, 4, 4)
    vectors[2]?.trigger()
    expect(read(20, 4)).toBe(4)
    write(16, 4, 0)
    expect(vectors[2]?.sent).toEqual([{ address: 0x1_fee0_1000, data: 0x4046 }])
    expect(read(20, 4)).toBe(0)
  })

  it('connects again only what changed', () => {
    const { write, vectors } = programmed(2)
    write(16, 4, 1)
    expect(vectors.map(({ connects }) => connects.length)).toEqual([2, 1, 1, 1])
  })

  it('sends nothing while the function is no bus master', () => {
    const { msi, state, messages } = programmed(1)
    state.isMaster = false
    msi.update()
    expect(messages()).toEqual([undefined, undefined, undefined, undefined])
  })

  it('tells when it goes on and off, and of nothing else', () => {
    const { write, state } = programmed(0)
    write(12, 2, 0x55)
    expect(state.changes).toBe(1)
    write(2, 2, 0)
    expect(state.changes).toBe(2)
  })

  it('forgets at its end what waited', () => {
    const { write, vectors } = programmed(2)
    write(16, 4, 1)
    vectors[0]?.trigger()
    write(2, 2, 0)
    expect(vectors[0]?.pending).toBe(false)
  })

  it('starts anew after a reset', () => {
    const { msi, vectors, messages } = programmed(2)
    msi.reset()
    expect(messages()).toEqual([undefined, undefined, undefined, undefined])
    expect(msi.enabled).toBe(false)
    msi.close()
    expect(vectors.every(({ isClosed }) => isClosed)).toBe(true)
  })
})

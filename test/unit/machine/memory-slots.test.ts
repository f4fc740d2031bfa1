import { describe, expect, it } from 'vitest'
import { SysError } from '../../../src/base/errors.ts'
import type { MemorySlot } from '../../../src/kvm/vm.ts'
import { MemorySlots } from '../../../src/machine/memory-slots.ts'

/** Slots above two of RAM, and what KVM is told; `refuse` makes it refuse. */
function slots() {
  const told: MemorySlot[] = []
  const host = { refuses: false }
  const setMemory = (slot: MemorySlot) => {
    if (host.refuses) throw new SysError('KVM_SET_USER_MEMORY_REGION', 17, 'EEXIST')
    told.push(slot)
  }
  return { slots: new MemorySlots({ setMemory }, 2), told, host }
}

describe('MemorySlots', () => {
  it('takes the slots behind those of RAM', () => {
    const { slots: memory, told } = slots()
    memory.map(0xc000_0000, 0x1000, 0x7000_0000)
    memory.map(0xc001_0000, 0x2000, 0x7001_0000)
    expect(told).toEqual([
      { slot: 2, guestAddress: 0xc000_0000, sizeBytes: 0x1000, hostAddress: 0x7000_0000 },
      { slot: 3, guestAddress: 0xc001_0000, sizeBytes: 0x2000, hostAddress: 0x7001_0000 },
    ])
  })

  it('takes a slot again that is free', () => {
    const { slots: memory, told } = slots()
    memory.map(0xc000_0000, 0x1000, 0x7000_0000)
    memory.map(0xc001_0000, 0x1000, 0x7001_0000)
    memory.unmap(0xc000_0000)
    memory.map(0xc002_0000, 0x1000, 0x7000_0000)
    expect(told.slice(2)).toEqual([
      { slot: 2, guestAddress: 0xc000_0000, sizeBytes: 0, hostAddress: 0 },
      { slot: 2, guestAddress: 0xc002_0000, sizeBytes: 0x1000, hostAddress: 0x7000_0000 },
    ])
  })

  it('keeps nothing of what KVM refuses', () => {
    const { slots: memory, told, host } = slots()
    host.refuses = true
    expect(() => memory.map(0xc000_0000, 0x1000, 0x7000_0000)).toThrow('EEXIST')
    host.refuses = false
    memory.map(0xc000_0000, 0x1000, 0x7000_0000)
    expect(told.map(({ slot }) => slot)).toEqual([2])
  })
})

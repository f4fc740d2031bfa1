/**
 * KVM's memory slots above those of RAM: what the guest reaches of a passed-through device's memory without an exit.
 * Belongs to the device thread; the slots go with the virtual machine at the latest.
 */
import { assert } from '../base/errors.ts'
import type { Vm } from '../kvm/vm.ts'
import type { GuestSpace } from '../vfio/guest-space.ts'

/** See above. */
export class MemorySlots implements GuestSpace {
  /** Slots in use, by guest address. */
  private readonly used = new Map<number, number>()
  private readonly free: number[] = []

  /** `next`: the first slot that RAM has not taken. */
  constructor(
    private readonly vm: Pick<Vm, 'setMemory'>,
    private next: number,
  ) {}

  map(guestAddress: number, size: number, hostAddress: number): void {
    assert(!this.used.has(guestAddress), 'memory of devices does not overlap in the guest')
    const slot = this.free.pop() ?? this.next++
    try {
      this.vm.setMemory({ slot, guestAddress, sizeBytes: size, hostAddress })
    } catch (error) {
      this.free.push(slot)
      throw error
    }
    this.used.set(guestAddress, slot)
  }

  unmap(guestAddress: number): void {
    const slot = this.used.get(guestAddress)
    assert(slot !== undefined, 'what is unmapped was mapped')
    this.vm.setMemory({ slot, guestAddress, sizeBytes: 0, hostAddress: 0 })
    this.used.delete(guestAddress)
    this.free.push(slot)
  }
}

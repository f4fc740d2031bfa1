/**
 * Turns descriptors into the translated buffers of a Chain, with the checks that both layouts share. A descriptor's
 * fields come as values that were read from memory once.
 */
import { Access, type DmaSpace } from '../memory/dma-space.ts'
import type { Extents } from '../memory/extents.ts'
import type { Chain } from './queue.ts'
import { VIRTQ_DESC_F_WRITE } from './ring.ts'

const CHAIN_BYTES_LIMIT = 0x1_0000_0000

/** Builds one chain after another. */
export class ChainBuilder {
  /** What was wrong when `add` returned false. */
  problem = ''
  private readonly space: DmaSpace
  /** Somebody may ask where a chain's buffers are. */
  private readonly keepsRanges: boolean
  private chain: Chain
  /** A device-writable descriptor came already. */
  private writing = false

  constructor(space: DmaSpace, chain: Chain) {
    this.space = space
    this.keepsRanges = space.isRevocable
    this.chain = chain
  }

  begin(chain: Chain): void {
    this.chain = chain
    this.writing = false
    chain.readable.clear()
    chain.writable.clear()
    if (this.keepsRanges) chain.ranges.clear()
  }

  /**
   * Appends a buffer. One of length 0 is legal (VIRTIO 1.2 §2.7.5 sets no minimum) and appends nothing; its address is
   * not looked at.
   */
  add(low: number, high: number, length: number, flags: number): boolean {
    const { chain } = this
    const { readable, writable } = chain
    // Above 2^53 the sum rounds, but never to an address that memory could have.
    const address = high * 0x1_0000_0000 + low
    // VIRTIO 1.2 §2.7.5.2. Before the translation, whose work it bounds.
    if (readable.size + writable.size + length > CHAIN_BYTES_LIMIT)
      return this.refuse('a chain has more than 2^32 bytes')
    if ((flags & VIRTQ_DESC_F_WRITE) !== 0) {
      this.writing = true
      if (!this.space.translate(address, length, Access.write, writable))
        return this.fault('write', address, length, writable)
    } else {
      // VIRTIO 1.2 §2.7.4.2, §2.8.17: device-readable elements come first.
      if (this.writing) return this.refuse('a device-readable descriptor follows a device-writable one')
      if (!this.space.translate(address, length, Access.read, readable))
        return this.fault('read', address, length, readable)
    }
    if (this.keepsRanges && length > 0) chain.ranges.add(address, length)
    return true
  }

  private fault(verb: string, address: number, length: number, { budget }: Extents): false {
    if (budget < 0) return this.refuse('the buffers of a chain are spread over too many mappings')
    return this.refuse(`the device may not ${verb} ${length} bytes at 0x${address.toString(16)}`)
  }

  private refuse(problem: string): false {
    this.problem = problem
    return false
  }
}

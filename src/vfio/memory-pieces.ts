/** What of a guest-physical range this process can show to devices: RAM, and memory of other passed-through devices. */
import type { RamBlock } from '../memory/ram.ts'
import type { PeerMemory } from './peer-memory.ts'

/** A part of the range that lies in one block of RAM or in one peer's memory. */
export interface MemoryPiece {
  readonly start: number
  readonly size: number
  readonly hostAddress: number
  readonly isPeer: boolean
}

/** See above. Blocks do not overlap; where a peer is in RAM's place, RAM counts. */
export class MemoryPieces {
  private readonly blocks: readonly RamBlock[]

  constructor(
    blocks: readonly RamBlock[],
    private readonly peers: PeerMemory,
  ) {
    this.blocks = blocks.toSorted((a, b) => a.start - b.start)
  }

  /** The host address of a range that is RAM from end to end; undefined for all others. */
  ram(start: number, size: number): number | undefined {
    for (const block of this.blocks)
      if (start >= block.start && start + size <= block.start + block.size)
        return block.hostAddress + start - block.start
    return undefined
  }

  /** All parts, by rising address; what is neither is left out. */
  of(start: number, size: number): readonly MemoryPiece[] {
    const end = start + size
    const pieces: MemoryPiece[] = []
    const peers = this.peers.ranges
    let at = start
    for (const block of this.blocks) {
      if (block.start >= end || block.start + block.size <= at) continue
      this.addPeers(pieces, peers, at, block.start)
      at = Math.max(at, block.start)
      const size = Math.min(end, block.start + block.size) - at
      pieces.push({ start: at, size, hostAddress: block.hostAddress + at - block.start, isPeer: false })
      at += size
    }
    this.addPeers(pieces, peers, at, end)
    return pieces
  }

  private addPeers(
    pieces: MemoryPiece[],
    ranges: readonly { readonly start: number; readonly size: number }[],
    start: number,
    end: number,
  ): void {
    let at = start
    for (const range of ranges) {
      at = Math.max(at, range.start)
      const to = Math.min(end, range.start + range.size)
      while (at < to) {
        const found = this.peers.find(at)
        if (found === undefined) break
        const size = Math.min(found.room, to - at)
        pieces.push({ start: at, size, hostAddress: found.hostAddress, isPeer: true })
        at += size
      }
    }
  }
}

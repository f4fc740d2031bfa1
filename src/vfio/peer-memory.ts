/**
 * Memory of passed-through devices in the guest's address space: where other devices' DMA may go besides RAM
 * (peer-to-peer). Containers map it by the address at which this process has it.
 */

interface Peer {
  readonly start: number
  readonly size: number
  readonly hostAddress: number
}

/** See above. */
export class PeerMemory {
  private peers: readonly Peer[] = []
  private listeners: readonly ((start: number, size: number) => void)[] = []

  /** A device's memory came to [start, start + size). */
  add(start: number, size: number, hostAddress: number): void {
    this.peers = [...this.peers, { start, size, hostAddress }]
    this.tell(start, size)
  }

  /** It is gone from there; listeners hear of it before this returns, and whoever removes it unmaps it after. */
  remove(start: number): void {
    const gone = this.peers.find(peer => peer.start === start)
    if (gone === undefined) return
    this.peers = this.peers.filter(peer => peer !== gone)
    this.tell(gone.start, gone.size)
  }

  /** The device memory at `address`: where this process has it, and how many bytes of it follow. */
  find(address: number): { readonly hostAddress: number; readonly room: number } | undefined {
    const peer = this.peers.find(({ start, size }) => address >= start && address < start + size)
    if (peer === undefined) return undefined
    const offset = address - peer.start
    return { hostAddress: peer.hostAddress + offset, room: peer.size - offset }
  }

  /** By rising address. */
  get ranges(): readonly { readonly start: number; readonly size: number }[] {
    return this.peers.toSorted((a, b) => a.start - b.start)
  }

  /** Calls `listener` after each change with the guest-physical range that changed. */
  onChange(listener: (start: number, size: number) => void): void {
    this.listeners = [...this.listeners, listener]
  }

  private tell(start: number, size: number): void {
    for (const listener of this.listeners) listener(start, size)
  }
}

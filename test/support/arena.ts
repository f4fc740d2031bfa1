/** A first-fit allocator of addresses, for the buffers of tests. */

export class Arena {
  /** Allocated blocks by address, in ascending order. */
  private blocks: { readonly start: number; readonly end: number }[] = []

  constructor(
    private readonly start: number,
    private readonly end: number,
  ) {}

  allocate(size: number, alignment: number): number {
    let at = align(this.start, alignment)
    let index = 0
    for (const block of this.blocks) {
      if (at + size <= block.start) break
      at = align(block.end, alignment)
      index++
    }
    if (at + size > this.end) throw new Error(`no room for ${size} bytes`)
    this.blocks.splice(index, 0, { start: at, end: at + Math.max(size, 1) })
    return at
  }

  free(address: number): void {
    const index = this.blocks.findIndex(block => block.start === address)
    if (index < 0) throw new Error(`0x${address.toString(16)} is not allocated`)
    this.blocks.splice(index, 1)
  }
}

function align(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

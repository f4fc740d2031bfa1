/**
 * A part of a virtqueue in memory, translated and kept for as long as the DmaSpace's version stays. It is in one piece
 * nearly always, and then `at` is a comparison and an addition; windows of memory and the pages of an IOMMU may cut it
 * into several, which `at` tells apart.
 *
 * Fields of a ring are aligned to their size, and pieces end at page boundaries, so no field lies in two pieces; whole
 * entries may (a used ring need only be aligned to 4), so ask `at` for each field unless the entry's size is aligned.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import { Extents } from '../memory/extents.ts'

interface Piece {
  /** First offset in the area, and the first behind. */
  readonly from: number
  readonly to: number
  /** What makes an offset in the area one in the views. */
  readonly bias: number
  readonly view: DataView
  readonly halves: Uint16Array
  readonly words: Uint32Array
}

/** Views of one area of a ring. */
export class RingArea {
  /** The window of memory that the offset of the last `at` lies in; for `Atomics`, the same as 16 and 32 bit values. */
  view: DataView = new DataView(new ArrayBuffer(0))
  halves: Uint16Array = new Uint16Array(0)
  words: Uint32Array = new Uint32Array(0)
  private from = 0
  private to = 0
  private bias = 0
  private pieces: readonly Piece[] = []

  constructor(
    private readonly name: string,
    private readonly address: number,
    private readonly size: number,
    private readonly alignment: number,
    private readonly access: number,
  ) {}

  /** Translates the area; a sentence about what is wrong with it, or undefined. */
  map(space: DmaSpace): string | undefined {
    const { name, address, size, alignment } = this
    const where = `${name} at 0x${address.toString(16)}`
    // VIRTIO 1.2 §2.7 and §2.8.10.1: the alignment of each area.
    if (address % alignment !== 0) return `the ${where} is not aligned to ${alignment}`
    const extents = new Extents(space.memory)
    if (!space.translate(address, size, this.access, extents)) return `the ${where} is not all in accessible memory`
    const pieces: Piece[] = []
    let from = 0
    for (let i = 0; i < extents.count; i++) {
      const start = extents.start(i)
      const to = from + extents.length(i)
      const view = space.memory.viewAt(start)
      const at = space.memory.offsetAt(start)
      const { buffer, byteOffset, byteLength } = view
      if ((byteOffset + at) % alignment !== from % alignment) return `the ${where} is cut inside an entry`
      pieces.push({
        // Integers, as `at` must not make doubles of its offsets: a view indexed by those takes ten times as long.
        from: from | 0,
        to: to | 0,
        bias: (at - from) | 0,
        view,
        halves: new Uint16Array(buffer, byteOffset, byteLength >>> 1),
        words: new Uint32Array(buffer, byteOffset, byteLength >>> 2),
      })
      from = to
    }
    this.pieces = pieces
    this.seek(0)
    return undefined
  }

  /** Whether it has an I/O virtual address in [start, end]. */
  overlaps(start: number, end: number): boolean {
    return this.address <= end && this.address + this.size > start
  }

  /** Where `offset` of the area is in the views, which may change with it. */
  at(offset: number): number {
    if (offset < this.from || offset >= this.to) this.seek(offset)
    return offset + this.bias
  }

  private seek(offset: number): void {
    for (const piece of this.pieces)
      if (offset < piece.to) {
        this.from = piece.from
        this.to = piece.to
        this.bias = piece.bias
        this.view = piece.view
        this.halves = piece.halves
        this.words = piece.words
        return
      }
  }
}

/** A driver's ring for the fuzzer: chains that are mostly right, so that they get far, and often enough wrong. */
import { Access } from '../../src/memory/dma-space.ts'
import { FUZZ_SIZE, FUZZ_START, type FuzzSpace } from './fuzz-space.ts'
import type { Random } from './random.ts'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4
const AVAIL = 1 << 7
const USED = 1 << 15

/** Rings lie in the first part of what the device sees, buffers behind them. */
const RING_BYTES = FUZZ_SIZE / 4

/** One descriptor before it gets its place. */
interface Buffer {
  readonly address: number
  readonly length: number
  readonly flags: number
}

/** The driver's side of one queue. Nothing is read back: the device's answers do not matter to it. */
export class FuzzRing {
  readonly desc: number
  readonly driver: number
  readonly device: number
  private next = 0
  private wrap = true
  private availIdx = 0

  constructor(
    private readonly space: FuzzSpace,
    private readonly random: Random,
    readonly size: number,
    readonly packed: boolean,
    /** Plausible first bytes of a request. */
    private readonly request: () => Uint8Array,
  ) {
    this.desc = this.place(16 * size, Access.read)
    this.driver = this.place(6 + 2 * size, Access.read)
    this.device = this.place(6 + 8 * size, Access.read | Access.write)
    space.poke(this.desc, new Uint8Array(16 * size))
    space.poke(this.driver, new Uint8Array(6 + 2 * size))
    space.poke(this.device, new Uint8Array(6 + 8 * size))
  }

  /** Makes one chain available. */
  add(): void {
    const buffers = this.chain()
    const isIndirect = this.random.below(4) === 0
    if (this.packed) this.addPacked(isIndirect ? [this.table(buffers, true)] : buffers)
    else this.addSplit(isIndirect ? [this.table(buffers, false)] : buffers)
  }

  /** Writes nonsense to some place of the rings. */
  scribble(): void {
    const { random } = this
    const areas = [
      [this.desc, 16 * this.size],
      [this.driver, 6 + 2 * this.size],
      [this.device, 6 + 8 * this.size],
    ] as const
    const [start, bytes] = areas[random.below(areas.length)] as readonly [number, number]
    this.space.poke(start + random.below(bytes), random.bytes(1 + random.below(8)))
  }

  /** Somewhere in what the device sees, and mostly where it may have `size` bytes between `from` and `to`. */
  private place(size: number, access: number, from = 0, to = RING_BYTES): number {
    const { random } = this
    let address = 0
    for (let i = 0; i < 10; i++) {
      address = (FUZZ_START + from + random.below(to - from)) & ~15
      if (this.space.allows(address, size, access) || random.below(200) === 0) break
    }
    return address
  }

  private chain(): Buffer[] {
    const { random } = this
    const readable = random.below(4)
    const writable = random.below(4)
    const buffers: Buffer[] = []
    for (let i = 0; i < readable; i++) buffers.push(this.buffer(i === 0 ? this.request() : undefined, 0))
    for (let i = 0; i < writable; i++) buffers.push(this.buffer(undefined, WRITE))
    if (buffers.length === 0 || random.below(100) === 0) buffers.push(this.buffer(undefined, random.below(8)))
    return buffers
  }

  private buffer(content: Uint8Array | undefined, flags: number): Buffer {
    const { random } = this
    const length = content === undefined || random.below(30) === 0 ? this.length() : content.length
    const access = (flags & WRITE) === 0 ? Access.read : Access.write
    const isOdd = random.below(200) === 0
    const address = isOdd ? this.oddAddress() : this.place(length, access, RING_BYTES, FUZZ_SIZE) + random.below(8)
    if (content !== undefined) this.space.poke(address, content)
    return { address, length, flags }
  }

  private length(): number {
    const { random } = this
    if (random.below(100) === 0) return random.below(2) === 0 ? 70_000 : 0xffff_ffff
    const lengths = [0, 1, 2, 8, 12, 16, 44, 512, 513, 1526, 4096, random.below(10_000)]
    return lengths[random.below(lengths.length)] as number
  }

  private oddAddress(): number {
    const addresses = [0, 1, 2 ** 32 - 1, 2 ** 52, 2 ** 64 - 4096, FUZZ_START - 1, FUZZ_START + FUZZ_SIZE - 1]
    return addresses[this.random.below(addresses.length)] as number
  }

  /** An indirect descriptor for `buffers`. */
  private table(buffers: readonly Buffer[], packed: boolean): Buffer {
    const { random } = this
    const address = this.place(16 * buffers.length, Access.read, RING_BYTES, FUZZ_SIZE)
    buffers.forEach((buffer, i) => {
      const isLast = i === buffers.length - 1
      this.write(address + 16 * i, buffer, packed || isLast ? 0 : NEXT, isLast ? random.below(8) : i + 1)
    })
    const length = random.below(30) === 0 ? random.below(0x1_0000) : 16 * buffers.length
    return { address, length, flags: INDIRECT | (random.below(30) === 0 ? random.below(8) : 0) }
  }

  private addSplit(buffers: readonly Buffer[]): void {
    const { random, size } = this
    const head = this.next
    buffers.forEach((buffer, i) => {
      const isLast = i === buffers.length - 1
      const at = (head + i) % size
      const next = random.below(300) === 0 ? random.below(0x1_0000) : (at + 1) % size
      this.write(this.desc + 16 * at, buffer, isLast ? 0 : NEXT, next)
    })
    this.next = (head + buffers.length) % size
    this.poke16(this.driver + 4 + 2 * (this.availIdx % size), random.below(300) === 0 ? random.below(0x1_0000) : head)
    this.availIdx = (this.availIdx + (random.below(300) === 0 ? random.below(0x1_0000) : 1)) & 0xffff
    this.poke16(this.driver + 2, this.availIdx)
    if (random.below(10) === 0) this.poke16(this.driver + 4 + 2 * size, random.below(2) * this.availIdx)
  }

  private addPacked(buffers: readonly Buffer[]): void {
    const { random, size } = this
    const id = random.below(300) === 0 ? random.below(0x1_0000) : this.next
    buffers.forEach((buffer, i) => {
      const isLast = i === buffers.length - 1
      const turn = random.below(300) === 0 ? random.below(0x1_0000) : this.wrap ? AVAIL : USED
      this.write(this.desc + 16 * this.next, buffer, turn | (isLast ? 0 : NEXT), id)
      this.next++
      if (this.next < size) return
      this.next = 0
      this.wrap = !this.wrap
    })
    if (random.below(10) === 0) this.space.poke(this.driver, random.bytes(4))
  }

  /** A descriptor; in packed rings the last two fields are the other way round. */
  private write(at: number, { address, length, flags }: Buffer, more: number, last: number): void {
    const bytes = new Uint8Array(16)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, address % 2 ** 32, true)
    view.setUint32(4, Math.floor(address / 2 ** 32), true)
    view.setUint32(8, length, true)
    view.setUint16(this.packed ? 14 : 12, flags | more, true)
    view.setUint16(this.packed ? 12 : 14, last, true)
    this.space.poke(at, bytes)
  }

  private poke16(at: number, value: number): void {
    this.space.poke(at, Uint8Array.of(value & 0xff, value >>> 8))
  }
}

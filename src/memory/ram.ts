/** Guest RAM's backing: one memfd, mapped shared, laid over the guest-physical ranges. */
import { closeFd } from '../host/fd.ts'
import { createMemfd, Mapping, viewAt } from '../host/mapping.ts'
import { GuestMemory, type MemoryWindow } from './guest-memory.ts'

/** Largest view: 1 GiB (indexes stay fast, see GuestMemory). */
const WINDOW_BYTES = 2 ** 30

/** A range of guest-physical addresses that is RAM. */
export interface RamRange {
  readonly start: number
  readonly size: number
}

/** A range with the address in this process that backs it; plain data, so that a Worker can be given it. */
export interface RamBlock extends RamRange {
  readonly hostAddress: number
}

/** Owns the memfd and its mapping. */
export class Ram {
  /** One word; see `holdRam`. */
  readonly hold = new SharedArrayBuffer(4)

  private constructor(
    readonly fd: number,
    private readonly mapping: Mapping,
    readonly blocks: readonly RamBlock[],
  ) {}

  /** Backs `ranges` (page-aligned); pages are allocated as they are touched. */
  static create(ranges: readonly RamRange[]): Ram {
    const total = ranges.reduce((sum, range) => sum + range.size, 0)
    const fd = createMemfd('bulkhead-ram', total)
    try {
      const mapping = Mapping.shared(fd, total)
      let offset = 0
      const blocks = ranges.map(range => {
        const block = { ...range, hostAddress: mapping.address + offset }
        offset += range.size
        return block
      })
      return new Ram(fd, mapping, blocks)
    } catch (error) {
      closeFd(fd)
      throw error
    }
  }

  /** Something of the host's may still use the memory: it then stays mapped for as long as the process lives. */
  get isHeld(): boolean {
    return Atomics.load(new Int32Array(this.hold), 0) !== 0
  }

  [Symbol.dispose](): void {
    if (!this.isHeld) this.mapping[Symbol.dispose]()
    closeFd(this.fd)
  }
}

/** For a thread that leaves an operation of the kernel's behind which has addresses in RAM. */
export function holdRam(hold: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(hold), 0, 1)
}

/** The calling thread's view of RAM; not to be used after the `Ram` is disposed. */
export function viewRam(blocks: readonly RamBlock[]): GuestMemory {
  const windows: MemoryWindow[] = []
  for (const block of blocks)
    for (let at = 0; at < block.size; at += WINDOW_BYTES) {
      const size = Math.min(WINDOW_BYTES, block.size - at)
      const hostAddress = block.hostAddress + at
      windows.push({ start: block.start + at, bytes: new Uint8Array(viewAt(hostAddress, size)), hostAddress })
    }
  return new GuestMemory(windows)
}

/** Finds what an I/O virtual address is mapped to, in the nodes of mapping-nodes.ts. Reads only. */
import { DIRECTORY_SHIFT, Entry } from './mapping-entry.ts'
import { NODE_ENTRIES } from './mapping-nodes.ts'

const PAGE_SIZE = 4096
const PAGE_MASK = PAGE_SIZE - 1
/** Addresses are split into two numbers of at most 31 bits, with which arithmetic is fast. */
const LOW_SIZE = 2 ** 28
const TWO_TO_32 = 2 ** 32
const ADDRESS_END = 2 ** 52

/** See above. */
export class MappingLookup {
  /** Of the last `find`: the guest-physical address, and how many bytes from there on the same entry maps. */
  phys = 0
  room = 0
  /** Bits of `Entry`, with those of `MapFlag`. */
  bits = 0
  /** Pages of the entry before this one. */
  place = 0

  constructor(
    private readonly nodes: { readonly words: Int32Array },
    private readonly directory: number,
  ) {}

  /** False: nothing is mapped there. */
  find(iova: number): boolean {
    if (iova >= ADDRESS_END) return false
    const { words } = this.nodes
    const top = (iova / LOW_SIZE) | 0
    const rest = (iova - top * LOW_SIZE) | 0
    const page = (top << 16) | (rest >>> 12)
    let at = this.directory + ((top >>> 16) << 1)
    let bits = words[at + 1] as number
    let shift: number = DIRECTORY_SHIFT
    let node = 0
    while ((bits & Entry.child) !== 0) {
      const below = (bits >>> Entry.shift) & 0xff
      // Only a reader in another thread meets this, when the owner makes something else of the node meanwhile.
      if (below >= shift) return false
      shift = below
      node = words[at] as number
      at = node + NODE_ENTRIES + (((page >>> shift) & 15) << 1)
      bits = words[at + 1] as number
    }
    if (bits === 0) return false
    // On the way down only the bits that the nodes are for were looked at.
    if (node !== 0 && ((page ^ (words[node] as number)) >>> shift) >>> 4 !== 0) return false
    const low = (words[at] as number) >>> 0
    const high = (bits >>> Entry.physHigh) & 0xff
    const offset = rest & PAGE_MASK
    this.bits = bits
    if (shift === 0) {
      this.phys = (high * TWO_TO_32 + low) * PAGE_SIZE + offset
      this.room = PAGE_SIZE - offset
      this.place = 0
      return true
    }
    return this.findInside(bits, shift, page, high * TWO_TO_32 + low, offset)
  }

  /** The entry is of more than one page. */
  private findInside(bits: number, shift: number, page: number, physPage: number, offset: number): boolean {
    const isDirectory = shift === DIRECTORY_SHIFT
    const size = isDirectory ? TWO_TO_32 : 1 << shift
    const place = isDirectory ? page >>> 0 : page & (size - 1)
    if ((bits & Entry.lone) !== 0) {
      if (place !== bits >>> Entry.lonePlace) return false
      this.phys = physPage * PAGE_SIZE + offset
      this.room = PAGE_SIZE - offset
      this.place = 0
      return true
    }
    this.phys = (physPage + place) * PAGE_SIZE + offset
    this.room = (size - place) * PAGE_SIZE - offset
    this.place = place
    return true
  }
}

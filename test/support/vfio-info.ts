/** INFO structs of VFIO as the kernel fills them in, for parsers (linux/vfio.h). */

const HEADER_SIZE = 8
const SPARSE_MMAP = 1

/**
 * A struct of `size` bytes that `fill` fills in, and a chain of capabilities behind it, whose first offset is put at
 * `chainAt`. Each capability starts with its header, whose `next` is put in.
 */
export function infoStruct(
  size: number,
  fill: (view: DataView) => void,
  chainAt: number,
  capabilities: readonly Uint8Array[],
): DataView {
  const total = capabilities.reduce((sum, { length }) => sum + length, size)
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  fill(view)
  view.setUint32(0, total, true)
  let at = size
  let link = chainAt
  for (const capability of capabilities) {
    bytes.set(capability, at)
    view.setUint32(link, at, true)
    link = at + 4
    at += capability.length
  }
  return view
}

/** A capability: its id, and what follows the header. */
export function capability(id: number, words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + 4 * words.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, id, true)
  view.setUint16(2, 1, true)
  for (const [index, word] of words.entries()) view.setUint32(HEADER_SIZE + 4 * index, word, true)
  return bytes
}

/** Areas of offset and size that may be mapped. */
export function sparseAreas(...areas: readonly (readonly [number, number])[]): Uint8Array {
  return capability(SPARSE_MMAP, [areas.length, 0, ...areas.flatMap(([offset, size]) => [offset, 0, size, 0])])
}

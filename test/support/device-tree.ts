/** Reads a flattened device tree as a guest does, Devicetree Specification 0.4 §5. Knows blobs of version 17 only. */

const BEGIN_NODE = 1
const END_NODE = 2
const PROP = 3

/** Properties by path: "/memory@0/reg". */
export type TreeProperties = ReadonlyMap<string, Uint8Array>

/** All properties of a blob; throws on a token that is none. */
export function readTree(blob: Uint8Array): TreeProperties {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  const strings = view.getUint32(12)
  const found = new Map<string, Uint8Array>()
  const path: string[] = []
  let at = view.getUint32(8)
  const end = at + view.getUint32(36)
  while (at < end - 4) {
    const token = view.getUint32(at)
    at += 4
    if (token === BEGIN_NODE) {
      const name = textAt(blob, at)
      path.push(name)
      at += padded(name.length + 1)
    } else if (token === END_NODE) path.pop()
    else if (token === PROP) {
      const size = view.getUint32(at)
      const name = textAt(blob, strings + view.getUint32(at + 4))
      found.set([...path, name].join('/'), blob.slice(at + 8, at + 8 + size))
      at += 8 + padded(size)
    } else throw new Error(`token ${token} at ${at - 4}`)
  }
  return found
}

/** The cells of a property; none if there is no such property. */
export function cellsOf(tree: TreeProperties, path: string): readonly number[] {
  const bytes = tree.get(path) ?? new Uint8Array(0)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i))
}

function textAt(bytes: Uint8Array, at: number): string {
  return new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)))
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4
}

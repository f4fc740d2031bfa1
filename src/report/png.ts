/** A picture of a few colours as a PNG (PNG specification, third edition, ISO/IEC 15948). */
import { crc32, deflateSync } from 'node:zlib'

/** Red, green, blue, alpha: 0 to 255. */
export type Colour = readonly [number, number, number, number]

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
const DEPTH = 8
const COLOUR_TYPE_PALETTE = 3

/** `pixels` are indexes into `palette`, row by row from the top. */
export function encodePng(width: number, height: number, pixels: Uint8Array, palette: readonly Colour[]): Uint8Array {
  const header = new DataView(new ArrayBuffer(13))
  header.setUint32(0, width)
  header.setUint32(4, height)
  header.setUint8(8, DEPTH)
  header.setUint8(9, COLOUR_TYPE_PALETTE)
  // Each row has its filter first: none.
  const rows = new Uint8Array((width + 1) * height)
  for (let row = 0; row < height; row++)
    rows.set(pixels.subarray(row * width, (row + 1) * width), row * (width + 1) + 1)
  return Buffer.concat([
    Uint8Array.from(SIGNATURE),
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('PLTE', Uint8Array.from(palette.flatMap(colour => colour.slice(0, 3)))),
    chunk('tRNS', Uint8Array.from(palette.map(([, , , alpha]) => alpha))),
    chunk('IDAT', deflateSync(rows, { level: 9 })),
    chunk('IEND', new Uint8Array(0)),
  ])
}

/** Length, type, data, and a checksum of the latter two. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const ends = new DataView(new ArrayBuffer(8))
  ends.setUint32(0, data.length)
  ends.setUint32(4, crc32(body))
  return Buffer.concat([new Uint8Array(ends.buffer, 0, 4), body, new Uint8Array(ends.buffer, 4, 4)])
}

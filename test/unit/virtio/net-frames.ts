/** Frames and headers for network tests. */
import { HEADER_SIZE, Header } from '../../../src/virtio/net-header.ts'

export const GUEST_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 1)

/** A header; all zero but for what is given. */
export function header(fields: Partial<Record<keyof typeof Header, number>> = {}): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE)
  const view = new DataView(bytes.buffer)
  view.setUint8(Header.flags, fields.flags ?? 0)
  view.setUint8(Header.gsoType, fields.gsoType ?? 0)
  view.setUint16(Header.hdrLen, fields.hdrLen ?? 0, true)
  view.setUint16(Header.gsoSize, fields.gsoSize ?? 0, true)
  view.setUint16(Header.csumStart, fields.csumStart ?? 0, true)
  view.setUint16(Header.csumOffset, fields.csumOffset ?? 0, true)
  view.setUint16(Header.numBuffers, fields.numBuffers ?? 0, true)
  return bytes
}

/** A frame of `size` bytes to `destination`: a local experimental type (IEEE 802), then counting bytes. */
export function frame(size: number, destination: Uint8Array = GUEST_MAC, seed = 0): Uint8Array {
  const bytes = Uint8Array.from({ length: size }, (_, index) => index * 7 + seed)
  bytes.set(destination)
  bytes.set([0x02, 0xff, 0, 0, 0, 2], 6)
  bytes.set([0x88, 0xb5], 12)
  return bytes
}

/** Header and frame in one. */
export function packet(body: Uint8Array, before: Uint8Array = header()): Uint8Array {
  return Uint8Array.from([...before, ...body])
}

/** All bytes of `parts`. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

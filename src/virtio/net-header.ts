/** struct virtio_net_hdr, VIRTIO 1.2 §5.1.6: what comes before each packet. Little-endian, 12 bytes. */
import {
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
} from './net-features.ts'

/** With VIRTIO_F_VERSION_1, `num_buffers` is always there. */
export const HEADER_SIZE = 12
/** Offsets of the fields. */
export const Header = {
  flags: 0,
  gsoType: 1,
  hdrLen: 2,
  gsoSize: 4,
  csumStart: 6,
  csumOffset: 8,
  numBuffers: 10,
} as const

export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1
export const VIRTIO_NET_HDR_F_DATA_VALID = 2
export const VIRTIO_NET_HDR_GSO_NONE = 0
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4
export const VIRTIO_NET_HDR_GSO_ECN = 0x80

/** Destination, source and type: the least that a frame has. */
export const ETHERNET_HEADER = 14
/** The largest packet: 64 KiB of IP behind an Ethernet header with a VLAN tag. */
export const MAX_PACKET = 65_535 + ETHERNET_HEADER + 4

/**
 * Why a packet of `size` bytes (header excluded) with this header cannot be sent; undefined when it can. §5.1.6.2.1:
 * a driver asks for what it negotiated, and within the packet.
 */
export function transmitFault(header: DataView, size: number, features: bigint): string | undefined {
  if (size < ETHERNET_HEADER) return 'a packet without an Ethernet header'
  if (size > MAX_PACKET) return 'a packet over 64 KiB'
  const needsChecksum = (header.getUint8(Header.flags) & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0
  if (needsChecksum) {
    if ((features & VIRTIO_NET_F_CSUM) === 0n) return 'a checksum asked for without VIRTIO_NET_F_CSUM'
    const start = header.getUint16(Header.csumStart, true)
    if (start + header.getUint16(Header.csumOffset, true) + 2 > size) return 'a checksum outside of the packet'
  }
  const gsoType = header.getUint8(Header.gsoType)
  if (gsoType === VIRTIO_NET_HDR_GSO_NONE) return undefined
  if (!segmentationNegotiated(gsoType, features)) return `gso_type 0x${gsoType.toString(16)}, which was not negotiated`
  if (header.getUint16(Header.gsoSize, true) === 0) return 'gso_size 0'
  if (!needsChecksum) return 'segmentation without a checksum'
  return undefined
}

function segmentationNegotiated(gsoType: number, features: bigint): boolean {
  if ((gsoType & VIRTIO_NET_HDR_GSO_ECN) !== 0 && (features & VIRTIO_NET_F_HOST_ECN) === 0n) return false
  switch (gsoType & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return (features & VIRTIO_NET_F_HOST_TSO4) !== 0n
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return (features & VIRTIO_NET_F_HOST_TSO6) !== 0n
    default:
      return false
  }
}

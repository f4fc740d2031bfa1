/** Feature bits of the network device, and which of them need others. VIRTIO 1.2 §5.1.3. */

export const VIRTIO_NET_F_CSUM = 1n << 0n
export const VIRTIO_NET_F_GUEST_CSUM = 1n << 1n
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 1n << 2n
export const VIRTIO_NET_F_MTU = 1n << 3n
export const VIRTIO_NET_F_MAC = 1n << 5n
export const VIRTIO_NET_F_GUEST_TSO4 = 1n << 7n
export const VIRTIO_NET_F_GUEST_TSO6 = 1n << 8n
export const VIRTIO_NET_F_GUEST_ECN = 1n << 9n
export const VIRTIO_NET_F_GUEST_UFO = 1n << 10n
export const VIRTIO_NET_F_HOST_TSO4 = 1n << 11n
export const VIRTIO_NET_F_HOST_TSO6 = 1n << 12n
export const VIRTIO_NET_F_HOST_ECN = 1n << 13n
export const VIRTIO_NET_F_MRG_RXBUF = 1n << 15n
export const VIRTIO_NET_F_STATUS = 1n << 16n
export const VIRTIO_NET_F_CTRL_VQ = 1n << 17n
export const VIRTIO_NET_F_CTRL_RX = 1n << 18n
export const VIRTIO_NET_F_CTRL_VLAN = 1n << 19n
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 1n << 20n
export const VIRTIO_NET_F_MQ = 1n << 22n
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 1n << 23n

/** Packets that the driver hands over unfinished: the host completes the checksum and cuts them up. */
export const HOST_OFFLOADS = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN
/** Packets that the driver takes unfinished; with VIRTIO_NET_F_CTRL_GUEST_OFFLOADS it may change its mind. */
export const GUEST_OFFLOADS =
  VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN

/** §5.1.3.1: a feature, and those of which it needs one. */
const NEEDS: readonly (readonly [feature: bigint, oneOf: bigint])[] = [
  [VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM],
  [VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6],
  [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM],
  [VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM],
  [VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6],
  [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_RX_EXTRA, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_VQ],
  [VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, VIRTIO_NET_F_CTRL_VQ],
]

/** Whether every feature of `features` has what it needs. */
export function featuresComplete(features: bigint): boolean {
  return NEEDS.every(([feature, oneOf]) => (features & feature) === 0n || (features & oneOf) !== 0n)
}

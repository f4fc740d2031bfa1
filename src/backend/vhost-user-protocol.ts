/**
 * The vhost-user wire format: request numbers, feature bits, payloads. QEMU 7.2 docs/interop/vhost-user.rst.
 * Every message is a header of three 32-bit words and a payload, in the machine's byte order (little-endian on both
 * of our architectures). Left out: migration, post-copy, the back end's own requests, configuration space.
 */
import type { RamBlock } from '../memory/ram.ts'

export const VHOST_USER_GET_FEATURES = 1
export const VHOST_USER_SET_FEATURES = 2
export const VHOST_USER_SET_OWNER = 3
export const VHOST_USER_SET_MEM_TABLE = 5
export const VHOST_USER_SET_VRING_NUM = 8
export const VHOST_USER_SET_VRING_ADDR = 9
export const VHOST_USER_SET_VRING_BASE = 10
export const VHOST_USER_GET_VRING_BASE = 11
export const VHOST_USER_SET_VRING_KICK = 12
export const VHOST_USER_SET_VRING_CALL = 13
export const VHOST_USER_SET_VRING_ERR = 14
export const VHOST_USER_GET_PROTOCOL_FEATURES = 15
export const VHOST_USER_SET_PROTOCOL_FEATURES = 16
export const VHOST_USER_GET_QUEUE_NUM = 17
export const VHOST_USER_SET_VRING_ENABLE = 18

const REQUEST_NAMES: Readonly<Record<number, string>> = {
  [VHOST_USER_GET_FEATURES]: 'VHOST_USER_GET_FEATURES',
  [VHOST_USER_SET_FEATURES]: 'VHOST_USER_SET_FEATURES',
  [VHOST_USER_SET_OWNER]: 'VHOST_USER_SET_OWNER',
  [VHOST_USER_SET_MEM_TABLE]: 'VHOST_USER_SET_MEM_TABLE',
  [VHOST_USER_SET_VRING_NUM]: 'VHOST_USER_SET_VRING_NUM',
  [VHOST_USER_SET_VRING_ADDR]: 'VHOST_USER_SET_VRING_ADDR',
  [VHOST_USER_SET_VRING_BASE]: 'VHOST_USER_SET_VRING_BASE',
  [VHOST_USER_GET_VRING_BASE]: 'VHOST_USER_GET_VRING_BASE',
  [VHOST_USER_SET_VRING_KICK]: 'VHOST_USER_SET_VRING_KICK',
  [VHOST_USER_SET_VRING_CALL]: 'VHOST_USER_SET_VRING_CALL',
  [VHOST_USER_SET_VRING_ERR]: 'VHOST_USER_SET_VRING_ERR',
  [VHOST_USER_GET_PROTOCOL_FEATURES]: 'VHOST_USER_GET_PROTOCOL_FEATURES',
  [VHOST_USER_SET_PROTOCOL_FEATURES]: 'VHOST_USER_SET_PROTOCOL_FEATURES',
  [VHOST_USER_GET_QUEUE_NUM]: 'VHOST_USER_GET_QUEUE_NUM',
  [VHOST_USER_SET_VRING_ENABLE]: 'VHOST_USER_SET_VRING_ENABLE',
}

/** Among the device's feature bits: protocol features can be negotiated, and rings start disabled. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 1n << 30n
export const VHOST_USER_PROTOCOL_F_MQ = 1n << 0n
export const VHOST_USER_PROTOCOL_F_REPLY_ACK = 1n << 3n

/** Header: request, flags, size of the payload. */
export const HEADER_SIZE = 12
export const HEADER_FLAGS = 4
export const HEADER_PAYLOAD = 8

/** Header flags: the protocol's version in the low two bits. */
export const VHOST_USER_VERSION = 1
export const VHOST_USER_VERSION_MASK = 3
export const VHOST_USER_REPLY_MASK = 1 << 2
export const VHOST_USER_NEED_REPLY_MASK = 1 << 3

/** struct vhost_vring_state: index and num, 32 bits each. */
export const VRING_STATE_SIZE = 8
const VRING_ADDRESS_SIZE = 40
const MEMORY_HEADER_SIZE = 8
const MEMORY_REGION_SIZE = 32

/** Where a ring is, in addresses of our own process. */
export interface VringAddress {
  readonly desc: number
  readonly avail: number
  readonly used: number
}

/** A request's name in the specification, for messages. */
export function requestName(request: number): string {
  return REQUEST_NAMES[request] ?? `request ${request}`
}

/** A whole message. */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_SIZE + payload.length)
  const view = new DataView(message.buffer)
  view.setUint32(0, request, true)
  view.setUint32(HEADER_FLAGS, flags, true)
  view.setUint32(HEADER_PAYLOAD, payload.length, true)
  message.set(payload, HEADER_SIZE)
  return message
}

/** Payload: a single 64-bit integer. */
export function encodeU64(value: bigint): Uint8Array {
  const payload = new Uint8Array(8)
  new DataView(payload.buffer).setBigUint64(0, value, true)
  return payload
}

/** Payload: a vring state description. */
export function encodeVringState(index: number, num: number): Uint8Array {
  const payload = new Uint8Array(VRING_STATE_SIZE)
  const view = new DataView(payload.buffer)
  view.setUint32(0, index, true)
  view.setUint32(4, num, true)
  return payload
}

/** Payload: a vring address description (struct vhost_vring_addr), without logging. */
export function encodeVringAddress(index: number, address: VringAddress): Uint8Array {
  const payload = new Uint8Array(VRING_ADDRESS_SIZE)
  const view = new DataView(payload.buffer)
  view.setUint32(0, index, true)
  view.setBigUint64(8, BigInt(address.desc), true)
  view.setBigUint64(16, BigInt(address.used), true)
  view.setBigUint64(24, BigInt(address.avail), true)
  return payload
}

/** Payload: the memory table for RAM whose blocks follow one another in one file. "User addresses" are ours. */
export function encodeMemoryTable(blocks: readonly RamBlock[]): Uint8Array {
  const payload = new Uint8Array(MEMORY_HEADER_SIZE + blocks.length * MEMORY_REGION_SIZE)
  const view = new DataView(payload.buffer)
  view.setUint32(0, blocks.length, true)
  let fileOffset = 0
  for (const [index, block] of blocks.entries()) {
    const at = MEMORY_HEADER_SIZE + index * MEMORY_REGION_SIZE
    view.setBigUint64(at, BigInt(block.start), true)
    view.setBigUint64(at + 8, BigInt(block.size), true)
    view.setBigUint64(at + 16, BigInt(block.hostAddress), true)
    view.setBigUint64(at + 24, BigInt(fileOffset), true)
    fileOffset += block.size
  }
  return payload
}

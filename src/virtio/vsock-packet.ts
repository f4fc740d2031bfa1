/** Packets of the socket device. VIRTIO 1.2 §5.10.6: a header, and in RW packets the bytes of a stream. */

export const VIRTIO_VSOCK_TYPE_STREAM = 1

export const VIRTIO_VSOCK_OP_REQUEST = 1
export const VIRTIO_VSOCK_OP_RESPONSE = 2
export const VIRTIO_VSOCK_OP_RST = 3
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4
export const VIRTIO_VSOCK_OP_RW = 5
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7

/** In `flags` of SHUTDOWN: the sender of the packet will receive no more, or send no more. */
export const VIRTIO_VSOCK_SHUTDOWN_RCV = 1
export const VIRTIO_VSOCK_SHUTDOWN_SEND = 2
export const SHUTDOWN_BOTH = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND

/** The host's context id. */
export const VMADDR_CID_HOST = 2

export const HEADER_SIZE = 44

/** struct virtio_vsock_hdr, copied out of the guest's memory and into it. Context ids are two 32-bit halves. */
export class VsockHeader {
  readonly bytes = new Uint8Array(HEADER_SIZE)
  private readonly view = new DataView(this.bytes.buffer)

  get srcCid(): number {
    return this.view.getUint32(0, true)
  }

  set srcCid(value: number) {
    this.view.setUint32(0, value, true)
  }

  get srcCidHigh(): number {
    return this.view.getUint32(4, true)
  }

  set srcCidHigh(value: number) {
    this.view.setUint32(4, value, true)
  }

  get dstCid(): number {
    return this.view.getUint32(8, true)
  }

  set dstCid(value: number) {
    this.view.setUint32(8, value, true)
  }

  get dstCidHigh(): number {
    return this.view.getUint32(12, true)
  }

  get srcPort(): number {
    return this.view.getUint32(16, true)
  }

  set srcPort(value: number) {
    this.view.setUint32(16, value, true)
  }

  get dstPort(): number {
    return this.view.getUint32(20, true)
  }

  set dstPort(value: number) {
    this.view.setUint32(20, value, true)
  }

  get len(): number {
    return this.view.getUint32(24, true)
  }

  set len(value: number) {
    this.view.setUint32(24, value, true)
  }

  get type(): number {
    return this.view.getUint16(28, true)
  }

  set type(value: number) {
    this.view.setUint16(28, value, true)
  }

  get op(): number {
    return this.view.getUint16(30, true)
  }

  set op(value: number) {
    this.view.setUint16(30, value, true)
  }

  get flags(): number {
    return this.view.getUint32(32, true)
  }

  set flags(value: number) {
    this.view.setUint32(32, value, true)
  }

  get bufAlloc(): number {
    return this.view.getUint32(36, true)
  }

  set bufAlloc(value: number) {
    this.view.setUint32(36, value, true)
  }

  get fwdCnt(): number {
    return this.view.getUint32(40, true)
  }

  set fwdCnt(value: number) {
    this.view.setUint32(40, value, true)
  }
}

/** The host's side of a network interface: a packet socket (packet(7)) that sends and receives whole frames. */
import { readFileSync } from 'node:fs'
import { CBuffer } from '../../src/host/c-buffer.ts'
import { EAGAIN } from '../../src/host/errno.ts'
import { closeFd } from '../../src/host/fd.ts'
import { check, errno, libc, throwErrno } from '../../src/host/libc.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const SOCK_NONBLOCK_CLOEXEC = 0o2004000
const SOL_PACKET = 263
const PACKET_VNET_HDR = 15
const PACKET_IGNORE_OUTGOING = 23
/** Bytes of the header with `offloads`: virtio's, without num_buffers. */
export const PACKET_HEADER = 10

export interface PacketSocketOptions {
  /** Network byte order: which frames to receive. */
  readonly etherType: number
  /** Each frame has a header of PACKET_HEADER bytes in front, both ways. */
  readonly offloads?: boolean
}

export class PacketSocket implements Disposable {
  private readonly fd: number
  private readonly buffer = new CBuffer(70_000)

  constructor(interfaceName: string, { etherType, offloads = false }: PacketSocketOptions) {
    const swapped = ((etherType & 0xff) << 8) | (etherType >> 8)
    this.fd = check('socket', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, swapped))
    const on = new CBuffer(4)
    on.view.setInt32(0, 1, true)
    check('setsockopt', libc.setsockopt(this.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, on.pointer, 4))
    if (offloads) check('setsockopt', libc.setsockopt(this.fd, SOL_PACKET, PACKET_VNET_HDR, on.pointer, 4))
    // struct sockaddr_ll: family, protocol, interface index.
    const address = new CBuffer(20)
    address.view.setUint16(0, AF_PACKET, true)
    address.view.setUint16(2, etherType)
    address.view.setInt32(4, Number(readFileSync(`/sys/class/net/${interfaceName}/ifindex`, 'utf8')), true)
    check('bind', libc.bind(this.fd, address.pointer, address.size))
  }

  send(frame: Uint8Array): void {
    const copy = CBuffer.of(frame)
    check('send', libc.send(this.fd, copy.pointer, frame.length, 0) as number)
  }

  /** The next frame; undefined when there is none now. */
  receive(): Uint8Array | undefined {
    const count = libc.recv(this.fd, this.buffer.pointer, this.buffer.size, 0) as number
    if (count >= 0) return this.buffer.bytes.slice(0, count)
    if (errno() !== EAGAIN) throwErrno('recv')
    return undefined
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
  }
}

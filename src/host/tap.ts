/** Tap interfaces: /dev/net/tun (linux/if_tun.h) and the interface requests of netdevice(7). */
import { constants } from 'node:fs'
import { CBuffer } from './c-buffer.ts'
import { closeFd, openFd } from './fd.ts'
import { check, libc } from './libc.ts'

const TUN_PATH = '/dev/net/tun'

export const TUNSETIFF = 0x4004_54ca
export const TUNGETFEATURES = 0x8004_54cf
export const TUNSETOFFLOAD = 0x4004_54d0
export const TUNGETIFF = 0x8004_54d2
export const TUNSETVNETHDRSZ = 0x4004_54d8
export const TUNSETQUEUE = 0x4004_54d9
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCGIFMTU = 0x8921
const SIOCSIFMTU = 0x8922

/** Flags of TUNSETIFF and TUNGETIFF. */
export const IFF_TAP = 0x0002
export const IFF_MULTI_QUEUE = 0x0100
export const IFF_ATTACH_QUEUE = 0x0200
export const IFF_DETACH_QUEUE = 0x0400
export const IFF_NO_PI = 0x1000
export const IFF_VNET_HDR = 0x4000
const IFF_UP = 0x1

/** What comes out may be like this: TUNSETOFFLOAD. */
export const TUN_F_CSUM = 0x01
export const TUN_F_TSO4 = 0x02
export const TUN_F_TSO6 = 0x04
export const TUN_F_TSO_ECN = 0x08

// struct ifreq: the name (NUL-terminated), then a union of 24 bytes.
const IFREQ_SIZE = 40
const IFNAMSIZ = 16
const IFR_UNION = 16

const AF_UNIX = 1
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000

/** The longest name of an interface. */
export const MAX_INTERFACE_NAME = IFNAMSIZ - 1

/** A queue of an interface: one descriptor, non-blocking. */
export interface TapQueue {
  readonly fd: number
  /** The interface's name, chosen by the kernel when none was given. */
  readonly name: string
}

/**
 * Opens a queue of interface `name`, which is made when there is none, and then lives as long as its descriptors.
 * Empty: a new one with a name of the kernel's choice.
 */
export function openTap(name: string, multiQueue: boolean): TapQueue {
  const fd = openFd(TUN_PATH, constants.O_RDWR | constants.O_NONBLOCK)
  try {
    const request = interfaceRequest(name)
    const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multiQueue ? IFF_MULTI_QUEUE : 0)
    request.view.setUint16(IFR_UNION, flags, true)
    check('ioctl(TUNSETIFF)', libc.ioctl(fd, TUNSETIFF, request.pointer))
    return { fd, name: nameIn(request) }
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** Name and IFF_* flags of an open tap. */
export function tapInterface(fd: number): { readonly name: string; readonly flags: number } {
  const request = new CBuffer(IFREQ_SIZE)
  check('ioctl(TUNGETIFF)', libc.ioctl(fd, TUNGETIFF, request.pointer))
  return { name: nameIn(request), flags: request.view.getUint16(IFR_UNION, true) }
}

/** The size of the header before each packet: 10, or 12 with num_buffers, which the kernel leaves alone. */
export function setTapHeaderSize(fd: number, size: number): void {
  const value = new CBuffer(4)
  value.view.setInt32(0, size, true)
  check('ioctl(TUNSETVNETHDRSZ)', libc.ioctl(fd, TUNSETVNETHDRSZ, value.pointer))
}

/** TUN_F_*: what packets that are read may be. */
export function setTapOffload(fd: number, flags: number): void {
  // The flags are the argument itself, not an address.
  check('ioctl(TUNSETOFFLOAD)', libc.ioctl(fd, TUNSETOFFLOAD, flags as never))
}

/** Takes a queue of a multi-queue interface into use, or out of it. */
export function setTapQueue(fd: number, isUsed: boolean): void {
  const request = interfaceRequest('')
  request.view.setUint16(IFR_UNION, isUsed ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE, true)
  check('ioctl(TUNSETQUEUE)', libc.ioctl(fd, TUNSETQUEUE, request.pointer))
}

/** Brings interface `name` up. */
export function setInterfaceUp(name: string): void {
  withRequest(name, (socket, request) => {
    check(`ioctl(SIOCGIFFLAGS, ${name})`, libc.ioctl(socket, SIOCGIFFLAGS, request.pointer))
    request.view.setUint16(IFR_UNION, request.view.getUint16(IFR_UNION, true) | IFF_UP, true)
    check(`ioctl(SIOCSIFFLAGS, ${name})`, libc.ioctl(socket, SIOCSIFFLAGS, request.pointer))
  })
}

export function interfaceMtu(name: string): number {
  return withRequest(name, (socket, request) => {
    check(`ioctl(SIOCGIFMTU, ${name})`, libc.ioctl(socket, SIOCGIFMTU, request.pointer))
    return request.view.getInt32(IFR_UNION, true)
  })
}

export function setInterfaceMtu(name: string, mtu: number): void {
  withRequest(name, (socket, request) => {
    request.view.setInt32(IFR_UNION, mtu, true)
    check(`ioctl(SIOCSIFMTU, ${name})`, libc.ioctl(socket, SIOCSIFMTU, request.pointer))
  })
}

/** Interface requests go through any socket. */
function withRequest<Result>(name: string, use: (socket: number, request: CBuffer) => Result): Result {
  const socket = check('socket', libc.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0))
  try {
    return use(socket, interfaceRequest(name))
  } finally {
    closeFd(socket)
  }
}

function interfaceRequest(name: string): CBuffer {
  const request = new CBuffer(IFREQ_SIZE)
  request.bytes.set(new TextEncoder().encode(name).subarray(0, MAX_INTERFACE_NAME))
  return request
}

function nameIn(request: CBuffer): string {
  const bytes = request.bytes.subarray(0, IFNAMSIZ)
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? IFNAMSIZ : end))
}

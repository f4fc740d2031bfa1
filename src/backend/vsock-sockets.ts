/**
 * Unix sockets as the host's side of vsock, by Firecracker's convention. PATH is the socket that the machine listens
 * at: the guest's connection to host port P goes to the socket PATH_P, where a host program listens; a host program
 * that wants to reach port P of the guest connects to PATH and writes "CONNECT P\n", and is answered "OK PORT\n".
 */
import { SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN, errnoName } from '../host/errno.ts'
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, type EventLoop } from '../host/event-loop.ts'
import { closeFd } from '../host/fd.ts'
import { acceptSocket, connectUnix, receive } from '../host/socket.ts'
import type { VsockBackend, VsockRequestHandler, VsockStream } from '../virtio/vsock-stream.ts'
import { VsockScratch, VsockSocket } from './vsock-socket.ts'

/** Sockets at a time, with those that have not asked for a port yet and those that still send to their peer. */
const MAX_SOCKETS = 1024
/** Programs that have connected and not yet said where to. */
const MAX_GREETINGS = 64
/** Connections taken per event. */
const ACCEPT_BATCH = 16

/** "CONNECT 4294967294\n" is the longest. */
const MAX_LINE = 19
const CONNECT = /^CONNECT (\d{1,10})$/
const VMADDR_PORT_ANY = 0xffff_ffff

/** The sockets of one device. */
export class VsockSockets implements VsockBackend {
  private readonly scratch = new VsockScratch()
  private readonly open = new Set<VsockStream>()
  /** Programs that connected and did not say where to yet, each with how to end it. */
  private readonly greetings = new Map<number, () => void>()
  private readonly byte = new CBuffer(1)
  private handler: VsockRequestHandler = () => undefined
  private isListening = true

  /** Listens with `listener`, which stays the caller's; `path` is the one it is bound to. */
  constructor(
    private readonly listener: number,
    private readonly path: string,
    private readonly loop: EventLoop,
    private readonly warn: (message: string) => void,
  ) {
    loop.watch(listener, EPOLLIN, () => this.acceptAll())
  }

  onRequest(handler: VsockRequestHandler): void {
    this.handler = handler
  }

  connect(hostPort: number): VsockStream | undefined {
    if (this.open.size >= MAX_SOCKETS) return undefined
    const fd = this.connectTo(`${this.path}_${hostPort}`)
    if (fd < 0) return undefined
    const socket = this.adopt(fd)
    this.loop.watch(fd, EPOLLET | EPOLLIN | EPOLLOUT, events => socket.onEvents(events))
    return socket
  }

  close(): void {
    this.loop.unwatch(this.listener)
    for (const end of this.greetings.values()) end()
    for (const socket of [...this.open]) socket.abort()
  }

  private connectTo(path: string): number {
    try {
      return connectUnix(path)
    } catch (error) {
      // No descriptor is left: the guest's connection is refused, like one to a port where nobody listens.
      if (!(error instanceof SysError)) throw error
      this.warn(`vsock: ${error.message}`)
      return -error.errno
    }
  }

  private adopt(fd: number): VsockSocket {
    const socket = new VsockSocket(fd, this.loop, this.scratch, () => {
      this.open.delete(socket)
      this.listenAgain()
    })
    this.open.add(socket)
    return socket
  }

  private acceptAll(): void {
    for (let turns = 0; turns < ACCEPT_BATCH; turns++) {
      const fd = acceptSocket(this.listener)
      if (fd >= 0) this.greet(fd)
      else {
        if (fd !== -EAGAIN) this.pause(-fd)
        return
      }
    }
  }

  /** No descriptors are left, say: waits until one is given back rather than be told of the same program for ever. */
  private pause(errno: number): void {
    this.warn(`vsock: accept at ${this.path} failed: ${errnoName(errno)} (errno ${errno})`)
    this.isListening = false
    this.loop.modify(this.listener, 0)
  }

  private listenAgain(): void {
    if (this.isListening) return
    this.isListening = true
    this.loop.modify(this.listener, EPOLLIN)
  }

  /** Waits for the line that says where a program wants to go. */
  private greet(fd: number): void {
    if (this.greetings.size >= MAX_GREETINGS || this.open.size >= MAX_SOCKETS) {
      closeFd(fd)
      return
    }
    let line = ''
    let socket: VsockSocket | undefined
    const end = () => {
      this.greetings.delete(fd)
      this.loop.unwatch(fd)
      closeFd(fd)
      this.listenAgain()
    }
    this.greetings.set(fd, end)
    this.loop.watch(fd, EPOLLIN, events => {
      if (socket !== undefined) {
        socket.onEvents(events)
        return
      }
      const read = this.readLine(fd, line)
      line = read ?? ''
      if (read === undefined) end()
      else if (read.endsWith('\n')) {
        socket = this.request(fd, read)
        if (socket === undefined) end()
        else this.greetings.delete(fd)
      } else if ((events & (EPOLLHUP | EPOLLERR)) !== 0) end()
    })
  }

  /** Byte by byte: what follows the line is the guest's. Undefined for a line that is none. */
  private readLine(fd: number, start: string): string | undefined {
    let line = start
    while (!line.endsWith('\n')) {
      const count = receive(fd, this.byte.pointer, 1)
      if (count === -EAGAIN) return line
      if (count <= 0 || line.length === MAX_LINE) return undefined
      line += String.fromCharCode(this.byte.bytes[0] as number)
    }
    return line
  }

  /** Hands a program's request on; undefined when it cannot be carried out. */
  private request(fd: number, line: string): VsockSocket | undefined {
    const port = Number(CONNECT.exec(line.trimEnd())?.[1])
    if (!(port < VMADDR_PORT_ANY)) return undefined
    const socket = this.adopt(fd)
    // Until the guest answers, only the program's end matters.
    this.loop.modify(fd, 0)
    if (this.handler(port, socket) !== undefined) return socket
    this.open.delete(socket)
    return undefined
  }
}

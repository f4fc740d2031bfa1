/** A program of the host in tests: its end of a Unix stream socket, without blocking. */
import { CBuffer } from '../../src/host/c-buffer.ts'
import { EAGAIN } from '../../src/host/errno.ts'
import { closeFd } from '../../src/host/fd.ts'
import { connectUnix, receive, SHUT_WR, send, shutdownSocket } from '../../src/host/socket.ts'

const buffer = new CBuffer(2 ** 16)

/** A connected socket; dispose of it. */
export class HostProgram implements Disposable {
  private isOpen = true

  constructor(readonly fd: number) {
    if (fd < 0) throw new Error(`no socket: ${fd}`)
  }

  static connect(path: string): HostProgram {
    return new HostProgram(connectUnix(path))
  }

  /** Sends what the socket takes; how many bytes. */
  write(bytes: Uint8Array): number {
    const copy = CBuffer.of(bytes)
    return Math.max(send(this.fd, copy.pointer, copy.size), 0)
  }

  /** Everything that is there. */
  read(): Uint8Array {
    const all: number[] = []
    for (;;) {
      const count = receive(this.fd, buffer.pointer, buffer.size)
      if (count <= 0) return Uint8Array.from(all)
      for (let i = 0; i < count; i++) all.push(buffer.bytes[i] as number)
    }
  }

  /** Whether the other side has ended, with nothing left to read. */
  get isAtEnd(): boolean {
    const count = receive(this.fd, buffer.pointer, 1)
    return count !== -EAGAIN && count <= 0
  }

  endWriting(): void {
    shutdownSocket(this.fd, SHUT_WR)
  }

  [Symbol.dispose](): void {
    if (this.isOpen) closeFd(this.fd)
    this.isOpen = false
  }
}

import { describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EAGAIN } from '../../../src/host/errno.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { receive, socketPair } from '../../../src/host/socket.ts'
import { SocketMessage } from '../../../src/host/socket-message.ts'

/** An iovec array over `buffers`. */
function iovecs(buffers: readonly CBuffer[]): CBuffer {
  const array = new CBuffer(buffers.length * 16)
  for (const [index, buffer] of buffers.entries()) {
    array.view.setBigUint64(index * 16, BigInt(buffer.pointer), true)
    array.view.setBigUint64(index * 16 + 8, BigInt(buffer.size), true)
  }
  return array
}

const text = (string: string) => CBuffer.of(new TextEncoder().encode(string))
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe('SocketMessage', () => {
  it('gathers the buffers that it sends', () => {
    const [near, far] = socketPair()
    const parts = [text('one '), text('two '), text('three')]
    expect(new SocketMessage().sendVector(near, iovecs(parts).pointer, 3)).toBe(13)
    const buffer = new CBuffer(32)
    expect(receive(far, buffer.pointer, 32)).toBe(13)
    expect(decode(buffer.bytes.subarray(0, 13))).toBe('one two three')
    closeFd(near)
    closeFd(far)
  })

  it('scatters what it receives', () => {
    const [near, far] = socketPair()
    const message = new SocketMessage()
    message.send(near, text('abcdef').pointer, 6, [])
    const parts = [new CBuffer(2), new CBuffer(8)]
    expect(message.receiveVector(far, iovecs(parts).pointer, 2)).toBe(6)
    expect(parts.map(part => decode(part.bytes).replaceAll('\0', ''))).toEqual(['ab', 'cdef'])
    closeFd(near)
    closeFd(far)
  })

  it('carries descriptors, which work at the other end', () => {
    const [near, far] = socketPair()
    using event = EventFd.create()
    using other = EventFd.create()
    const message = new SocketMessage()
    expect(message.send(near, text('x').pointer, 1, [event.fd, other.fd])).toBe(1)
    const fds: number[] = []
    expect(message.receive(far, new CBuffer(8).pointer, 8, fds)).toBe(1)
    expect(fds).toHaveLength(2)
    new EventFd(fds[1] as number).signal()
    expect([event.take(), other.take()]).toEqual([0, 1])
    for (const fd of [near, far, ...fds]) closeFd(fd)
  })

  it('receives bytes without descriptors, and nothing from an empty socket', () => {
    const [near, far] = socketPair()
    const message = new SocketMessage()
    const fds: number[] = []
    expect(message.receive(far, new CBuffer(8).pointer, 8, fds)).toBe(-EAGAIN)
    message.send(near, text('abc').pointer, 3, [])
    expect(message.receive(far, new CBuffer(8).pointer, 8, fds)).toBe(3)
    expect(fds).toEqual([])
    closeFd(near)
    closeFd(far)
  })
})

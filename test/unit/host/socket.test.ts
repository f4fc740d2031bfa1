import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EAGAIN, EPIPE } from '../../../src/host/errno.ts'
import { closeFd } from '../../../src/host/fd.ts'
import {
  acceptSocket,
  connectUnix,
  listenUnix,
  receive,
  SHUT_WR,
  SO_SNDBUF,
  send,
  setSocketOption,
  shutdownSocket,
  socketPair,
} from '../../../src/host/socket.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-socket-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

const text = (string: string) => CBuffer.of(new TextEncoder().encode(string))

describe('listenUnix', () => {
  it('takes a connection whose bytes arrive', () => {
    const path = join(DIRECTORY, 'one')
    const listener = listenUnix(path)
    expect(acceptSocket(listener)).toBe(-EAGAIN)
    const client = connectUnix(path)
    const server = acceptSocket(listener)
    expect(send(client, text('hello').pointer, 5)).toBe(5)
    const buffer = new CBuffer(16)
    expect(receive(server, buffer.pointer, 16)).toBe(5)
    expect(new TextDecoder().decode(buffer.bytes.subarray(0, 5))).toBe('hello')
    for (const fd of [client, server, listener]) closeFd(fd)
  })

  it('names the path that is in use', () => {
    const path = join(DIRECTORY, 'used')
    const listener = listenUnix(path)
    expect(() => listenUnix(path)).toThrow(`bind ${path} failed: EADDRINUSE`)
    closeFd(listener)
  })

  it.each(['x'.repeat(108), 'a\0b'])('refuses a path that no socket can have', path => {
    expect(() => listenUnix(path)).toThrow('is no path for a socket')
  })
})

describe('connectUnix', () => {
  it('answers with the errno when nobody listens', () => {
    expect(connectUnix(join(DIRECTORY, 'missing'))).toBe(-2)
  })
})

describe('send', () => {
  it('takes part of the bytes, then none, when the peer does not read', () => {
    const [near, far] = socketPair()
    setSocketOption(near, SO_SNDBUF, 4096)
    const bytes = new CBuffer(1 << 20)
    const taken = send(near, bytes.pointer, bytes.size)
    expect(taken).toBeGreaterThan(0)
    expect(taken).toBeLessThan(bytes.size)
    expect(send(near, bytes.pointer, bytes.size)).toBe(-EAGAIN)
    closeFd(near)
    closeFd(far)
  })

  it('answers EPIPE when the peer is gone, and raises no signal', () => {
    const [near, far] = socketPair()
    closeFd(far)
    expect(send(near, text('x').pointer, 1)).toBe(-EPIPE)
    closeFd(near)
  })
})

describe('receive', () => {
  it('tells nothing yet from the end of the stream', () => {
    const [near, far] = socketPair()
    const buffer = new CBuffer(8)
    expect(receive(near, buffer.pointer, 8)).toBe(-EAGAIN)
    shutdownSocket(far, SHUT_WR)
    expect(receive(near, buffer.pointer, 8)).toBe(0)
    closeFd(near)
    closeFd(far)
  })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostError } from '../../../src/base/errors.ts'
import { Monitor } from '../../../src/rig/monitor.ts'
import { PortListener } from '../../../src/rig/sockets.ts'

let folder: string
let listener: PortListener
let qemu: Socket

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rig-test-'))
  listener = await PortListener.open(join(folder, 'port'))
  qemu = connect({ path: join(folder, 'port'), allowHalfOpen: true })
})

afterEach(() => {
  qemu.destroy()
  listener.close()
  rmSync(folder, { recursive: true })
})

async function all<T>(from: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of from) items.push(item)
  return items
}

describe('PortSocket', () => {
  it('passes bytes both ways', async () => {
    const port = await listener.connected
    const received = new Promise(resolve => qemu.once('data', resolve))
    await port.write(Uint8Array.of(0, 255, 10))
    expect(await received).toEqual(Buffer.from([0, 255, 10]))
    qemu.end(Buffer.from([1, 0, 2]))
    expect(Buffer.concat(await all(port.read()))).toEqual(Buffer.from([1, 0, 2]))
  })

  it('goes on receiving after its own direction has ended', async () => {
    const port = await listener.connected
    const ended = new Promise(resolve => qemu.resume().once('end', resolve))
    port.end()
    await ended
    qemu.end('still here')
    expect(Buffer.concat(await all(port.read())).toString()).toBe('still here')
  })

  it('joins lines that arrive in pieces and drops an unfinished one', async () => {
    const port = await listener.connected
    qemu.write('rea')
    setTimeout(() => qemu.end('dy\nstatus 0\nsta'), 20)
    expect(await all(port.lines())).toEqual(['ready', 'status 0'])
  })

  it('lets a write to a peer that is gone return', async () => {
    const port = await listener.connected
    qemu.destroy()
    await all(port.read())
    await expect(port.write(new Uint8Array(1 << 22))).resolves.toBeUndefined()
  })

  it('makes a writer wait while nobody reads', async () => {
    const port = await listener.connected
    qemu.pause()
    const outcome = await Promise.race([
      port.write(new Uint8Array(16 << 20)).then(() => 'written'),
      Bun.sleep(100).then(() => 'waiting'),
    ])
    expect(outcome).toBe('waiting')
  })
})

describe('PortListener', () => {
  it('says what to do when the path is too long', async () => {
    await expect(PortListener.open(join(folder, 'x'.repeat(200)))).rejects.toThrow(/TMPDIR/)
  })
})

describe('Monitor', () => {
  /** Answers each command with the next of `replies`, after the greeting. */
  function play(replies: readonly unknown[]): void {
    const rest = [...replies]
    qemu.write('{"QMP": {}}\n')
    qemu.on('data', () => qemu.write(`${JSON.stringify(rest.shift())}\n`))
  }

  it('skips events on the way to a result', async () => {
    play([{ return: {} }, { event: 'STOP' }])
    const monitor = await Monitor.open(await listener.connected)
    const result = monitor.execute('stop')
    setTimeout(() => qemu.write('{"return": {"done": 1}}\n'), 20)
    expect(await result).toEqual({ done: 1 })
  })

  it('reports a refusal with its reason', async () => {
    play([{ return: {} }, { error: { desc: 'no such thing' } }])
    const monitor = await Monitor.open(await listener.connected)
    await expect(monitor.execute('bad')).rejects.toThrow(/refused bad: no such thing/)
  })

  it('reports a migration that fails', async () => {
    play([{ return: {} }, { return: {} }, { return: {} }, { return: { status: 'failed', 'error-desc': 'no match' } }])
    const monitor = await Monitor.open(await listener.connected)
    await expect(monitor.restore(3)).rejects.toThrow(/could not restore the machine: no match/)
  })

  it('reports the end of QEMU', async () => {
    play([{ return: {} }])
    const monitor = await Monitor.open(await listener.connected)
    qemu.removeAllListeners('data').end()
    await expect(monitor.execute('stop')).rejects.toThrow(HostError)
  })
})

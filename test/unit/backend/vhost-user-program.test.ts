import { describe, expect, it, vi } from 'vitest'
import { LinkSource } from '../../../src/backend/vhost-user-link.ts'
import { VhostUserProgram } from '../../../src/backend/vhost-user-program.ts'
import { HostError } from '../../../src/base/errors.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { processesWith } from '../../support/share-bench.ts'

const PROGRAM = new URL('../../support/vhost-user-program.ts', import.meta.url).pathname
const COMMAND = [process.execPath, PROGRAM]

describe('VhostUserProgram', () => {
  it('quotes a program that ends at once', async () => {
    const start = VhostUserProgram.start([['/bin/sh', '-c', 'echo first >&2; echo second >&2; exit 3']])
    await expect(start).rejects.toThrow(HostError)
    await expect(start).rejects.toThrow(/^it ended with status 3: first: second$/)
  })

  it('says that a program cannot be started', async () => {
    await expect(VhostUserProgram.start([['/missing/program']])).rejects.toThrow('cannot start /missing/program')
  })

  it('takes the first command that works', async () => {
    await using program = await VhostUserProgram.start([['/bin/false'], COMMAND])
    expect(program.offer).toEqual({ features: 0n, protocolFeatures: 0n, queues: undefined })
  })

  it('starts the program again after its end, and after an end by force', async () => {
    const events: string[] = []
    const sockets: number[] = []
    using loop = new EventLoop()
    await using program = await VhostUserProgram.start([COMMAND])
    const source = new LinkSource(program.link, loop)
    source.open({ connected: fd => void sockets.push(fd), ended: reason => void events.push(reason) })
    const connections = async (count: number) => {
      const look = () => {
        loop.wait(0)
        expect(sockets).toHaveLength(count)
      }
      await vi.waitFor(look, { timeout: 20_000, interval: 2 })
    }
    closeFd(sockets[0]!)
    await connections(2)
    source.end()
    await connections(3)
    expect(events).toEqual(['it ended with status 0', 'it ended with signal SIGKILL'])
    sockets.slice(1).forEach(closeFd)
  })

  it('ends a program that does not end by itself', async () => {
    const word = `stubborn-${process.pid}`
    const program = await VhostUserProgram.start([[...COMMAND, 'stubborn', word]])
    expect(processesWith(word)).toHaveLength(1)
    await program[Symbol.asyncDispose]()
    expect(processesWith(word)).toEqual([])
  })
})

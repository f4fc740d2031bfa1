import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BadInput, HostError } from '../../../src/base/errors.ts'
import { askInstance, ControlClient } from '../../../src/control/client.ts'
import { socketPath } from '../../../src/control/instances.ts'
import { answerLines, type ControlHandler, ControlServer } from '../../../src/control/server.ts'
import { leaveStaleSocket } from '../../support/stale-socket.ts'

let runtime = ''
const servers: ControlServer[] = []

beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'bulkhead-run-'))
  vi.stubEnv('XDG_RUNTIME_DIR', runtime)
})

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
  vi.unstubAllEnvs()
  rmSync(runtime, { recursive: true })
})

async function listen(name: string, handler: ControlHandler): Promise<ControlServer> {
  const server = await ControlServer.listen(name, handler)
  servers.push(server)
  return server
}

const echo: ControlHandler = async (method, params) => ({ method, params })

describe('ControlServer', () => {
  it('answers a request with what the handler returns', async () => {
    await listen('one', echo)
    expect(await askInstance('one', 'stat', { a: 1 })).toEqual({ method: 'stat', params: { a: 1 } })
  })

  it.each([
    ['a refusal', new BadInput('no such vCPU')],
    ['a failure', new HostError('the guest does not run')],
  ])('answers with the sentence and the kind of error that the handler throws: %s', async (_, error) => {
    await listen('one', async () => {
      throw error
    })
    await expect(askInstance('one', 'nmi')).rejects.toThrow(error)
  })

  it('answers null for a handler that returns nothing', async () => {
    await listen('one', async () => undefined)
    expect(await askInstance('one', 'stop')).toBeNull()
  })

  it('refuses a name that is taken', async () => {
    await listen('one', echo)
    await expect(ControlServer.listen('one', echo)).rejects.toThrow(
      new BadInput('an instance called "one" runs already: choose another --name'),
    )
    expect(await askInstance('one', 'stat')).toMatchObject({ method: 'stat' })
  })

  it('takes the place of an instance that died', async () => {
    leaveStaleSocket(socketPath('one'))
    await listen('one', echo)
    expect(await askInstance('one', 'stat')).toMatchObject({ method: 'stat' })
  })

  it('leaves no socket behind', async () => {
    const server = await listen('one', echo)
    server.close()
    expect(existsSync(server.path)).toBe(false)
  })

  it('goes on after lines that are no requests, and drops a client with an endless one', async () => {
    const server = await listen('one', echo)
    const socket = connect(server.path)
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.on('error', () => {})
    socket.write('nonsense\n{"id":1}\n')
    socket.write('x'.repeat(3 * 2 ** 20))
    await closed
    expect(await askInstance('one', 'stat')).toMatchObject({ method: 'stat' })
  })

  it('outlives a client that goes away before its answer', async () => {
    const answer = Promise.withResolvers<null>()
    const server = await listen('one', method => (method === 'slow' ? answer.promise : Promise.resolve('quick')))
    const socket = connect(server.path)
    await new Promise(resolve => socket.write('{"id":1,"method":"slow"}\n', resolve))
    expect(await askInstance('one', 'stat')).toBe('quick')
    socket.destroy()
    answer.resolve(null)
    expect(await askInstance('one', 'stat')).toBe('quick')
  })
})

describe('askInstance', () => {
  it('says so when nothing of that name runs', async () => {
    await expect(askInstance('ghost', 'stat')).rejects.toThrow(
      new BadInput('no instance called "ghost" runs: see bulkhead list'),
    )
  })

  it('says so when the instance ends before it answers', async () => {
    const server = await listen('one', () => new Promise(() => server.close()))
    await expect(askInstance('one', 'stop')).rejects.toThrow('"one" ended before it answered')
  })
})

describe('ControlClient', () => {
  it('gives each request the answer with its number, whatever the order', async () => {
    const sent: string[] = []
    const client = new ControlClient(line => sent.push(line))
    const answers = [client.request('a'), client.request('b')]
    const [first, second] = sent.map(line => (JSON.parse(line) as { id: number }).id)
    const reply = (id: number, result: string) =>
      client.push(new TextEncoder().encode(`${JSON.stringify({ id, result })}\n`))
    reply(999, 'stray')
    reply(second!, 'to b')
    reply(first!, 'to a')
    expect(await Promise.all(answers)).toEqual(['to a', 'to b'])
  })

  it('ends all that wait with the reason', async () => {
    const client = new ControlClient(() => {})
    const answers = [client.request('a'), client.request('b')]
    client.fail('gone')
    for (const answer of answers) await expect(answer).rejects.toThrow(new HostError('gone'))
  })
})

describe('answerLines', () => {
  it('answers over any byte stream', async () => {
    const lines: string[] = []
    answerLines(echo, line => lines.push(line)).push(new TextEncoder().encode('{"id":7,"method":"stat"}\n'))
    await vi.waitFor(() => expect(lines).toEqual(['{"id":7,"result":{"method":"stat","params":{}}}\n']))
  })
})

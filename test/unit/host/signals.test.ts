import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { installKick, kick } from '../../../src/host/signals.ts'

const SLEEPER = new URL('../../support/epoll-sleeper.ts', import.meta.url)

describe('kick', () => {
  it('gets a thread out of a call that it is blocked in', async () => {
    installKick()
    const shared = new Int32Array(new SharedArrayBuffer(8))
    const worker = new Worker(SLEEPER, { workerData: shared.buffer })
    const woken = new Promise(resolve => worker.once('message', resolve))
    const timer = setInterval(() => kick(Atomics.load(shared, 0)), 20)
    expect(await woken).toBe('woken')
    clearInterval(timer)
    await worker.terminate()
  })

  it('ignores a thread that is gone', () => {
    installKick()
    expect(() => kick(2 ** 30)).not.toThrow()
  })
})

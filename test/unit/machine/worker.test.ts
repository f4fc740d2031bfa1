import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { FromDevices, StartDevices } from '../../../src/machine/messages.ts'
import { MachineWorker } from '../../../src/machine/worker.ts'

describe('MachineWorker', () => {
  it('tells everybody who waits, and the callback, of a thread that cannot even start', async () => {
    const seen: string[] = []
    const worker = new MachineWorker<StartDevices, FromDevices>('no-such-worker', ({ type }) => void seen.push(type))
    const failures = await Promise.all([worker.next('failed'), worker.next('failed')])
    expect(failures.map(({ type }) => type)).toEqual(['failed', 'failed'])
    expect(failures[0]!.message).toContain('no-such-worker')
    expect(seen).toEqual(['failed'])
    await worker.end()
  })

  it('ends a thread that has closed by itself long ago', async () => {
    const worker = new MachineWorker<StartDevices, FromDevices>('no-such-worker', () => {})
    await worker.next('failed')
    await sleep(100)
    await expect(worker.end()).resolves.toBeUndefined()
  })

  it('reports what goes wrong inside the thread', async () => {
    const worker = new MachineWorker<unknown, FromDevices>('device-worker', () => {})
    const failed = worker.next('failed')
    worker.start({})
    expect((await failed).message).toContain('TypeError')
    await worker.end()
  })
})

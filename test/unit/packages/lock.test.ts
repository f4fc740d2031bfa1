import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAlive, withLock } from '../../../src/packages/lock.ts'

let folder = ''
let path = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'))
  path = join(folder, 'x.lock')
})

afterEach(() => rmSync(folder, { recursive: true }))

async function deadPid(): Promise<number> {
  const child = spawn('true')
  await once(child, 'exit')
  return child.pid!
}

describe('withLock', () => {
  it('lets one in at a time', async () => {
    let inside = 0
    let most = 0
    const enter = () =>
      withLock(path, async () => {
        most = Math.max(most, ++inside)
        await Bun.sleep(5)
        inside--
      })

    await Promise.all(Array.from({ length: 5 }, enter))

    expect(most).toBe(1)
  })

  it('leaves nothing behind, also after a failure', async () => {
    const failing = withLock(path, async () => {
      throw new Error('broken')
    })

    await expect(failing).rejects.toThrow('broken')
    expect(readdirSync(folder)).toEqual([])
  })

  it('takes over the lock of a process that is gone', async () => {
    writeFileSync(path, `${await deadPid()} 1 mark\n`)

    expect(await withLock(path, async () => readFileSync(path, 'utf8'))).toMatch(new RegExp(`^${process.pid} `))
    expect(existsSync(path)).toBe(false)
  })

  it('takes over the lock of a process whose id another one has now', async () => {
    writeFileSync(path, `${process.pid} 1 mark\n`)

    expect(await withLock(path, async () => 'done')).toBe('done')
  })

  it('lets one in at a time when all find a lock of a dead process', async () => {
    writeFileSync(path, `${await deadPid()} 1 mark\n`)
    const inside: number[] = []
    const counts: number[] = []
    const enter = (id: number) =>
      withLock(path, async () => {
        inside.push(id)
        await Bun.sleep(5)
        counts.push(inside.length)
        inside.pop()
      })

    await Promise.all([1, 2, 3, 4].map(enter))

    expect(counts).toEqual([1, 1, 1, 1])
  })

  it('tells once that it waits', async () => {
    let told = 0
    const gate = Promise.withResolvers<void>()
    const first = withLock(path, () => gate.promise)

    const second = withLock(
      path,
      async () => 'done',
      () => told++,
    )
    await Bun.sleep(250)
    gate.resolve()
    await first

    expect(await second).toBe('done')
    expect(told).toBe(1)
  })
})

describe('isAlive', () => {
  it('tells a running process from one that ended', async () => {
    expect(isAlive(process.pid)).toBe(true)
    expect(isAlive(await deadPid())).toBe(false)
  })
})

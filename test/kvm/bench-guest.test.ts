import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseReport } from '../bench/bench-guest.ts'
import { runBenchTests } from '../support/bench-machine.ts'
import { missingCompiler } from '../support/c-program.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { describeUnless } from '../support/skip.ts'

const SECTOR = 512

let folder: string
let disk: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  disk = join(folder, 'disk')
})
afterAll(() => rmSync(folder, { recursive: true }))

const runTests = (words: string) => runBenchTests(words, disk)

describeUnless(missingKvm() ?? missingCompiler('stdint.h'), 'the bench guest', () => {
  beforeAll(() => writeFileSync(disk, new Uint8Array(1024 * SECTOR)))

  it.each([
    ['polls', 'off'],
    ['polls, with interrupts held back by the local APIC', 'sent'],
    ['waits for interrupts', 'taken'],
    ['halts for interrupts', 'halt'],
  ])('reads the disk and %s', async (_, interrupts) => {
    const word = `blk-read,count=100,depth=8,interrupts=${interrupts}`
    const { outcome, output, report } = await runTests(word)
    expect(output).toMatch(/done\s*$/)
    expect(outcome).toEqual({ type: 'debugExit', status: 1 })
    expect([...report.keys()]).toEqual(
      ['median', 'p95', 'rate', 'bandwidth', 'notifications'].map(it => `${word}.${it}`),
    )
  })

  it.each([
    ['without indirect tables', 'indirect=0'],
    ['without event indexes', 'event_idx=0'],
    ['with a table of 32 segments', 'size=131072,segment=4096'],
  ])('reads the disk %s', async (_, option) => {
    const { output } = await runTests(`blk-read,count=100,depth=8,${option}`)
    expect(output).toMatch(/done\s*$/)
  })

  it('writes all of the disk in order', async () => {
    writeFileSync(disk, new Uint8Array(64 * SECTOR).fill(0xee))
    const { output } = await runTests(`blk-write,sequential=1,size=4096,count=8,depth=2`)
    expect(output).toMatch(/done\s*$/)
    expect(readFileSync(disk).every(byte => byte === 0)).toBe(true)
  })

  it('notifies less often than it submits at depth 32', async () => {
    const word = 'blk-read,count=2000,depth=32'
    const { report } = await runTests(word)
    expect(report.get(`${word}.notifications`)).toBeLessThan(1000)
  })

  it('reads random bytes', async () => {
    const { output } = await runTests('rng,size=16,count=50')
    expect(output).toMatch(/done\s*$/)
  })

  it.each([
    ['an unknown test', 'blk-erase', 'there is an unknown test'],
    ['an unknown option', 'rng,colour=1', 'there is an unknown option'],
    ['a device that is missing', 'net-echo,size=60', 'the machine has no such virtio device'],
  ])('ends with an error after %s', async (_, word, sentence) => {
    const { outcome, output } = await runTests(word)
    expect(output).toContain(`error: ${sentence}`)
    expect(outcome).toEqual({ type: 'debugExit', status: 3 })
  })
})

describe('parseReport', () => {
  it('takes lines of figures and nothing else', () => {
    const output = 'setup\r\nrng,size=16.median 1200 ns\r\nrng,size=16.notifications 7 \nerror: x\ndone\n'
    expect([...parseReport(output)]).toEqual([
      ['rng,size=16.median', 1200],
      ['rng,size=16.notifications', 7],
    ])
  })
})

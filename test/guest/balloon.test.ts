import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { MachineStat } from '../../src/control/machine-control.ts'
import { type CliRun, Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'

const LIMIT = { timeout: 180_000, interval: 500 }
/** Answers each line with what the kernel has free, after it has done what the line says. */
const SCRIPT = `
  echo waiting
  while read -r line; do
    eval "$line"
    awk -v line="$line" '/MemFree/ { print "after " line ": " int($2 / 1024) "." }' /proc/meminfo
  done
`
const FILL_MIB = 128

const place = new Place({ ownCache: false })
let run: CliRun
beforeAll(async () => {
  await prepareGuest()
  const words = ['--name', 'guest', '-m', '512', '--balloon', '--', 'sh', '-c', SCRIPT]
  run = startGuest(place, words, { stdin: null, timeoutMs: 4 * BOOT_LIMIT_MS })
  await run.saw('waiting\n')
}, SETUP_LIMIT_MS)
afterAll(async () => {
  run.child.kill('SIGTERM')
  await run.result
  place[Symbol.dispose]()
})

let asked = 0
/** Lets the guest do something, and gives what is free there afterwards, in MiB. */
async function freeAfter(command: string): Promise<number> {
  const line = `${command} # ${asked++}`
  run.type(`${line}\n`)
  return Number(await run.sawAfter(`after ${line}: `, '.'))
}

const told = async (...args: string[]) => {
  const { status, stdout, stderr } = await place.bulkhead(args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}
const balloon = async () => JSON.parse(await told('balloon', 'guest', '--json')) as object
const residentMiB = async () =>
  (JSON.parse(await told('stat', 'guest', '--json')) as MachineStat[])[0]!.residentKiB / 1024

describe.sequential('a balloon', () => {
  it('takes memory from the guest, and gives it back', async () => {
    const before = await freeAfter('true')
    await told('balloon', 'guest', '256M')
    await vi.waitFor(async () => expect(await balloon()).toMatchObject({ targetMiB: 256, actualMiB: 256 }), LIMIT)
    const during = await freeAfter('true')
    expect(before - during).toBeGreaterThan(200)
    await told('balloon', 'guest', '512M')
    await vi.waitFor(async () => expect(await balloon()).toMatchObject({ targetMiB: 0, actualMiB: 0 }), LIMIT)
    expect((await freeAfter('true')) - during).toBeGreaterThan(200)
  })

  it("shows the guest's own statistics", async () => {
    expect(await told('balloon', 'guest')).toMatch(/^guest: asked for 0 MiB, has 0 MiB\n( {2}stat-[a-z-]+ \d+\n)+$/)
  })

  it('leaves to the host what the guest frees, without being told', async () => {
    await freeAfter(`dd if=/dev/zero of=/tmp/filler bs=1M count=${FILL_MIB} 2>/dev/null`)
    const full = await residentMiB()
    await freeAfter('rm /tmp/filler')
    await vi.waitFor(async () => expect(full - (await residentMiB())).toBeGreaterThan(FILL_MIB * 0.75), LIMIT)
    // And the guest can have it again.
    await freeAfter(`dd if=/dev/zero of=/tmp/filler bs=1M count=${FILL_MIB} 2>/dev/null`)
    expect(full - (await residentMiB())).toBeLessThan(FILL_MIB * 0.25)
  })
})

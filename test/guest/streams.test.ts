import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, prepareGuest, runScript, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { inGuest, startOnRig } from '../support/rig-host.ts'

const MIB = 2 ** 20
const place = new Place({ ownCache: false })
beforeAll(prepareGuest, SETUP_LIMIT_MS)
afterAll(() => place[Symbol.dispose]())

const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const timeoutMs = 2 * BOOT_LIMIT_MS

describe("a command's streams", () => {
  it('carry many bytes of any value, both ways at once, and end', async () => {
    const stdin = randomBytes(16 * MIB)
    const result = await runScript(place, 'tee /dev/stderr | sha256sum >/tmp/sum; cat /tmp/sum', {
      stdin,
      timeoutMs,
    })
    expect(result.status).toBe(0)
    expect(result.stdout).toBe(`${sum(stdin)}  -\n`)
    expect(sum(result.errorBytes)).toBe(sum(stdin))
    expect(place.leftovers()).toEqual([])
  })

  it('let a command end that does not read its input to the end', async () => {
    const stdin = randomBytes(8 * MIB)
    const { status, bytes, stderr } = await runScript(place, 'head -c 100', { stdin, timeoutMs })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(bytes.equals(stdin.subarray(0, 100))).toBe(true)
  })

  it('are whole when the guest powers off at once, ten times', async () => {
    const guest = inGuest('', 'seq 1 50000; seq 1 20000 >&2; exit 7')
    const script = `
      for round in 0 1 2 3 4 5 6 7 8 9; do
        ${guest} >/tmp/out 2>/tmp/errors
        echo "$? $(sha256sum </tmp/out) $(sha256sum </tmp/errors)"
      done
    `
    const { status, stdout, stderr } = await startOnRig(place, script).result
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const lines = (count: number) => Buffer.from(Array.from({ length: count }, (_, index) => `${index + 1}\n`).join(''))
    expect(stdout).toBe(`7 ${sum(lines(50_000))}  - ${sum(lines(20_000))}  -\n`.repeat(10))
  })
})

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomFrom } from '../support/boot-outcome.ts'
import { Place } from '../support/bulkhead.ts'
import { prepareGuest, runGuest, runScript, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'

const place = new Place({ ownCache: false })
beforeAll(prepareGuest, SETUP_LIMIT_MS)
afterAll(() => place[Symbol.dispose]())

/** Every byte value in every place, with the ones that a terminal would act on more often than chance has it. */
const random = randomFrom(3)
const special = Uint8Array.of(0x00, 0x03, 0x04, 0x0a, 0x0d, 0x11, 0x13, 0x16, 0x1a, 0x7f, 0xff)
const input = new Uint8Array(20_000).map(() => (random() % 4 === 0 ? special[random() % special.length]! : random()))

describe('a command in the guest', () => {
  it('ends with its status, its output and its errors apart', async () => {
    const result = await runScript(place, 'echo out; echo err >&2; printf more; exit 42')
    expect(result).toMatchObject({ status: 42, stdout: 'out\nmore', stderr: 'err\n' })
    expect(place.leftovers()).toEqual([])
  })

  it('is the stock kernel, and success is status 0', async () => {
    const { status, stdout, stderr } = await runGuest(place, ['--', 'uname', '-a'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^Linux bulkhead 6\.12\.[0-9]+\+deb1[0-9]+-cloud-amd64 #1 SMP .* x86_64 GNU\/Linux\n$/)
  })

  it('fails with status 1', async () => {
    expect(await runGuest(place, ['--', 'false'])).toMatchObject({ status: 1, stdout: '', stderr: '' })
  })

  it.each(['virtio', 'serial'])(
    'gets any bytes on standard input and sends any bytes on standard output over a %s console',
    async console => {
      const script = 'tee /tmp/input | sha256sum >&2; cat /tmp/input'
      const words = ['--console', console, '--', 'sh', '-c', script]
      const { status, bytes, stderr } = await runGuest(place, words, { stdin: input })
      expect({ status, stderr }).toEqual({
        status: 0,
        stderr: `${createHash('sha256').update(input).digest('hex')}  -\n`,
      })
      expect(bytes.equals(input)).toBe(true)
    },
  )

  it('gets its words as they are', async () => {
    const words = ['two words', `it's "quoted"`, '$HOME `id` $(id)', 'line\nfeed', '', '\\', 'käse 🧀', '--', '-n', '*']
    const { status, stdout } = await runGuest(place, ['--', 'printf', '[%s]\n', ...words])
    expect([status, stdout]).toEqual([0, words.map(word => `[${word}]\n`).join('')])
  })

  it('that does not exist ends with status 127 and its name', async () => {
    const { status, stdout, stderr } = await runGuest(place, ['--', 'no-such-command'])
    expect([status, stdout]).toEqual([127, ''])
    expect(stderr).toContain('no-such-command: not found')
  })

  it('that kills itself ends with status 137', async () => {
    expect(await runScript(place, 'kill -9 $$')).toMatchObject({ status: 137, stdout: '' })
  })

  it('ends although it leaves processes that hold its output', async () => {
    const script = 'sleep 1000 & (trap "" TERM HUP; while :; do sleep 1; done) & cat /dev/zero >/dev/null & echo done'
    expect(await runScript(place, script)).toMatchObject({ status: 0, stdout: 'done\n', stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('ends as by SIGPIPE when nobody reads its output', async () => {
    const run = startGuest(place, ['--', 'yes'])
    await run.saw('y\ny\n')
    run.child.stdout?.destroy()
    expect((await run.result).status).toBe(141)
    expect(place.leftovers()).toEqual([])
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Log } from '../../src/base/log.ts'
import { prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { Place } from '../support/bulkhead.ts'
import { prepareGuest, runGuest, runScript, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'

let place: Place
beforeAll(prepareGuest, SETUP_LIMIT_MS)
beforeEach(() => {
  place = new Place({ ownCache: false })
})
afterEach(() => place[Symbol.dispose]())

const WAITING = ['--', 'sh', '-c', 'echo waiting; sleep 1000']

describe('a run', () => {
  it('ends a kernel panic with status 120 and shows the panic', async () => {
    // The pause: output on its way from the command to the serial port dies with a kernel that panics at once.
    const { status, stdout, stderr } = await runScript(place, 'echo before; sleep 1; echo c >/proc/sysrq-trigger')
    expect([status, stdout]).toEqual([120, 'before\n'])
    expect(stderr).toContain('Kernel panic - not syncing: sysrq triggered crash')
    expect(stderr).toMatch(/\nbulkhead: the guest's kernel panicked\n$/)
    expect(place.leftovers()).toEqual([])
  })

  it('ends a panic before the first process with status 120 and shows it on the console', async () => {
    const { kernel } = await prepareDefaultGuest({ log: new Log('error') })
    const { status, stdout, stderr } = await runGuest(place, ['-k', kernel])
    expect(status).toBe(120)
    expect(stdout).toContain('Kernel panic - not syncing: VFS: Unable to mount root fs')
    expect(stderr).toMatch(/^bulkhead: the guest's kernel panicked\n$/)
    expect(place.leftovers()).toEqual([])
  })

  it('ends with status 124 when its time is over', async () => {
    const { status, stdout, stderr } = await runGuest(place, ['--timeout', '3', '--', 'sleep', '1000'])
    expect({ status, stdout }).toEqual({ status: 124, stdout: '' })
    expect(stderr).toBe('bulkhead: timed out after 3 s\n')
    expect(place.leftovers()).toEqual([])
  })

  it('ends with status 119 when the guest powers off before its command is done', async () => {
    const { status, stdout, stderr } = await runScript(place, 'echo before; sleep 1; poweroff -f; sleep 1000')
    expect({ status, stdout }).toEqual({ status: 119, stdout: 'before\n' })
    expect(stderr).toMatch(/\nbulkhead: the guest ended before the command did\n$|^bulkhead: the guest ended [^\n]*\n$/)
    expect(place.leftovers()).toEqual([])
  })

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('ends by %s with status %d', async (signal, status) => {
    const run = startGuest(place, WAITING)
    await run.saw('waiting\n')
    run.child.kill(signal)
    expect(await run.result).toMatchObject({ status, stdout: 'waiting\n', stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('ends by SIGTERM before the guest has started', async () => {
    const run = startGuest(place, WAITING)
    await sleep(1500)
    run.child.kill('SIGTERM')
    expect(await run.result).toMatchObject({ status: 143, stdout: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('that is killed leaves no process, and the next run of its name removes the rest', async () => {
    const run = startGuest(place, ['--name', 'guest', ...WAITING])
    await run.saw('waiting\n')
    run.child.kill('SIGKILL')
    expect((await run.result).status).toBe(137)
    // The kernel ends the emulator with its parent, in its own time.
    await gone(place)
    expect(place.files()).toContain('run/bulkhead/guest.sock')
    expect(await runGuest(place, ['--name', 'guest', '--', 'echo', 'next'])).toMatchObject({
      status: 0,
      stdout: 'next\n',
    })
    expect(place.leftovers()).toEqual([])
  })
})

/** Resolves once no process of the place runs; throws when one does for long. */
async function gone(place: Place): Promise<void> {
  const end = performance.now() + 10_000
  while (place.processes().length > 0) {
    if (performance.now() > end) throw new Error(`still there: ${place.processes()}`)
    await sleep(50)
  }
}

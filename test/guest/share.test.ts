import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, runGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'

const HELLO = '#include <stdio.h>\nint main(void) { puts("hello from the host\'s directory"); return 42; }\n'
const DATA = randomBytes(4 * 2 ** 20)

const noCompiler = spawnSync('gcc', ['--version']).error === undefined ? undefined : 'there is no gcc'
const place = new Place({ ownCache: false })
const folder = mkdtempSync(join(tmpdir(), 'bh-share-'))
const work = join(folder, 'work')
const fixed = join(folder, 'fixed')
const sum = (bytes: Uint8Array) => `${createHash('sha256').update(bytes).digest('hex')}  -`
beforeAll(async () => {
  await prepareGuest()
  for (const path of [work, fixed]) mkdirSync(path)
  writeFileSync(join(work, 'from-host'), DATA)
  writeFileSync(join(fixed, 'from-host'), 'as it was')
}, SETUP_LIMIT_MS)
afterAll(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

describeUnless(noCompiler, 'a shared directory', () => {
  it('gives a program to run, with its status', async () => {
    const built = spawnSync('gcc', ['-static', '-x', 'c', '-', '-o', join(work, 'hello')], { input: HELLO })
    expect(built.status).toBe(0)
    const result = await runGuest(place, ['--share', `${work},work`, '--', '/mnt/work/hello'])
    expect(result).toMatchObject({ status: 42, stdout: "hello from the host's directory\n", stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('is read and written from both sides, or only read, also after its driver came back', async () => {
    const script = `
      check() { echo "$1: $(sha256sum </mnt/work/from-host)"; }
      check before
      umount /mnt/work
      device=$(basename $(ls -d /sys/bus/virtio/drivers/virtiofs/virtio* | head -n 1))
      echo $device >/sys/bus/virtio/drivers/virtiofs/unbind && echo $device >/sys/bus/virtio/drivers/virtiofs/bind
      mount -t virtiofs work /mnt/work
      check after
      mkdir -p /mnt/work/a/b && head -c 3000000 /dev/urandom >/mnt/work/a/b/from-guest
      echo "from-guest: $(sha256sum </mnt/work/a/b/from-guest)"
      mv /mnt/work/from-host /mnt/work/renamed
      cat /mnt/fixed/from-host | sed 's/^/fixed: /'; echo
      (echo changed >/mnt/fixed/from-host) 2>/dev/null || echo "write: refused"
      rm /mnt/fixed/from-host 2>/dev/null || echo "remove: refused"
    `
    const words = ['--share', `${work},work`, '--share', `${fixed},fixed,ro`, '--', 'sh', '-c', script]
    const { status, stdout, stderr } = await runGuest(place, words, { timeoutMs: 2 * BOOT_LIMIT_MS })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const told = factsOf(stdout)
    expect(told).toMatchObject({ before: sum(DATA), after: sum(DATA), fixed: 'as it was' })
    expect(told).toMatchObject({ write: 'refused', remove: 'refused' })
    expect(told['from-guest']).toBe(sum(readFileSync(join(work, 'a/b/from-guest'))))
    expect(readFileSync(join(work, 'renamed')).equals(DATA)).toBe(true)
    expect(existsSync(join(work, 'from-host'))).toBe(false)
    expect(readFileSync(join(fixed, 'from-host'), 'utf8')).toBe('as it was')
    expect(place.leftovers()).toEqual([])
  })
})

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'
import { inGuest, startOnRig } from '../support/rig-host.ts'

const MIB = 2 ** 20
const BLOCK = 4096
/** What must have been written before the process is killed. */
const ENOUGH = 12

/**
 * Writes one block after the other, each with its number in every line, waits for each to be flushed, and only then
 * tells of it. Beside it, another writer keeps the disk busy with what nobody waits for.
 */
const WRITER = `
(while :; do dd if=/dev/zero of=/dev/vda bs=64k seek=256 count=256 conv=notrunc 2>/dev/null; done) &
number=0
while :; do
  yes "block $number" | head -c ${BLOCK} | dd of=/dev/vda bs=${BLOCK} seek=$number conv=notrunc,fsync 2>/dev/null &&
    echo "flushed $number."
  number=$((number + 1))
done
`

let place: Place
let folder: string
let disk: string
beforeAll(prepareGuest, SETUP_LIMIT_MS)
beforeEach(() => {
  place = new Place({ ownCache: false })
  folder = mkdtempSync(join(tmpdir(), 'bh-crash-'))
  disk = join(folder, 'disk')
  writeFileSync(disk, '')
  truncateSync(disk, 64 * MIB)
})
afterEach(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** The blocks that the guest said were flushed, as they are in the file, and as they must be. */
function flushedBlocks(output: string) {
  const numbers = [...output.matchAll(/^flushed (\d+)\.$/gm)].map(([, number]) => Number(number))
  const content = readFileSync(disk)
  return {
    numbers,
    found: numbers.map(number => content.subarray(number * BLOCK, (number + 1) * BLOCK).toString()),
    wanted: numbers.map(number => `block ${number}\n`.repeat(BLOCK).slice(0, BLOCK)),
  }
}

describe('what a guest has flushed to its disk', () => {
  it('is in the file when the process is killed, and the emulated host with it', async () => {
    const run = startGuest(place, ['-d', disk, '--', 'sh', '-c', WRITER])
    await run.saw(`flushed ${ENOUGH}.`)
    run.child.kill('SIGKILL')
    const { status, stdout } = await run.result
    const { numbers, found, wanted } = flushedBlocks(stdout)
    expect(status).toBe(137)
    expect(numbers.length).toBeGreaterThan(ENOUGH)
    expect(found).toEqual(wanted)
  })

  it('is in the file when the process that runs it is killed during writes', async () => {
    const script = `
      ${inGuest('--name victim -d $1', WRITER)} >/tmp/told &
      until grep -q 'flushed ${ENOUGH}[.]' /tmp/told; do usleep 100000; done
      kill -9 $!
      { wait $!; } 2>/dev/null
      echo "ended $?"
      cat /tmp/told
    `
    const { status, stdout, stderr } = await startOnRig(place, script, { files: [`${disk},rw`] }).result
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain('ended 137\n')
    const { numbers, found, wanted } = flushedBlocks(stdout)
    expect(numbers.length).toBeGreaterThan(ENOUGH)
    expect(found).toEqual(wanted)
    expect(place.leftovers()).toEqual([])
  })
})

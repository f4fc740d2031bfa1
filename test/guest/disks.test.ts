import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliResult, Place } from '../support/bulkhead.ts'
import { guestTools } from '../support/guest-tools.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'

const MIB = 2 ** 20
const PROMPT = '~ # '
/** Full of data, of which the guest discards the second quarter. */
const HOLED = randomBytes(64 * MIB)

/** Each CPU has a queue of its own, so that four writers on four CPUs use them all. */
const SCRIPT = `
first() {
  echo "queues: $(ls /sys/block/vda/mq | wc -l)"
  echo "serial: $(cat /sys/block/vda/serial)"
  echo "read-only: $(cat /sys/block/vda/ro) $(cat /sys/block/vdb/ro)"
  echo "fixed: $(sha256sum </dev/vdb)"
  dd if=/dev/zero of=/dev/vdb bs=4k count=1 2>/dev/null || echo "refused: write"
  /opt/tools/mke2fs -q -t ext4 /dev/vda && mount /dev/vda /mnt
  writers=
  for cpu in 0 1 2 3; do
    (taskset -c $cpu dd if=/dev/urandom of=/mnt/direct$cpu bs=16k count=128 oflag=direct
      taskset -c $cpu dd if=/dev/urandom of=/mnt/cached$cpu bs=64k count=64) 2>/dev/null & writers="$writers $!"
  done
  wait $writers
  (cd /mnt && sha256sum direct* cached* >sums)
  umount /mnt
  /opt/tools/e2fsck -fn /dev/vda >/dev/null 2>&1 && echo "after-writing: clean"
  # Interrupts of each queue, over all CPUs.
  for queue in 0 1 2 3; do
    set -- $(grep "virtio1-req.$queue\\$" /proc/interrupts)
    [ $(($2 + $3 + $4 + $5)) -gt 0 ] && echo "queue$queue: used"
  done
  blkdiscard -o 16M -l 16M /dev/vdc && echo "discard: done"
  dd if=/dev/urandom of=/dev/vdc bs=64k seek=768 count=16 conv=fsync 2>/dev/null
  echo "holed: $(sha256sum </dev/vdc)"
  sync
}
second() {
  /opt/tools/e2fsck -fn /dev/vda >/dev/null 2>&1 && echo "after-reset: clean"
  mount -o ro /dev/vda /mnt
  (cd /mnt && sha256sum -c sums 2>/dev/null | grep -c OK | sed 's/^/same-files: /')
  umount /mnt
}
mkdir -p /opt/tools
mount -t ext4 -o ro /dev/vdd /opt/tools
$1
echo "network: $(ip -o -4 address show eth0 | awk '{ print $4 }')"
echo "$1 is done"
exit
`
/** Read-only: the script, which ends before the data does. */
const FIXED = Buffer.concat([Buffer.from(SCRIPT.padEnd(4096, '\n')), randomBytes(8 * MIB)])

let result: CliResult
let told: Readonly<Record<string, string>>
const place = new Place({ ownCache: false })
const folder = mkdtempSync(join(tmpdir(), 'bh-disks-'))
const path = (name: string) => join(folder, name)
const hash = (bytes: Uint8Array) => `${createHash('sha256').update(bytes).digest('hex')}  -`

beforeAll(async () => {
  await prepareGuest()
  writeFileSync(path('data'), '')
  truncateSync(path('data'), 256 * MIB)
  writeFileSync(path('fixed'), FIXED)
  writeFileSync(path('holed'), HOLED)
  const disks = [
    `${path('data')},queues=4,serial=bulkhead-serial-01`,
    `${path('fixed')},ro`,
    `${path('holed')},direct,io=threads`,
    `${await guestTools()},ro`,
  ]
  const words = ['-c', '4', '--reboot', '-n', 'user', ...disks.flatMap(disk => ['-d', disk])]
  const run = startGuest(place, words, { stdin: null, timeoutMs: 3 * BOOT_LIMIT_MS })
  await run.saw(PROMPT)
  run.type('sh /dev/vdb first; reboot -f\n')
  await run.saw('first is done')
  // The prompt of the guest that has started again: the other one gave no more after its line.
  await run.saw(PROMPT, 2)
  run.type('sh /dev/vdb second; poweroff -f\n')
  result = await run.result
  told = factsOf(result.stdout)
}, SETUP_LIMIT_MS)
afterAll(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('disks of a guest', () => {
  it('end with it, and leave nothing', () => {
    expect({ status: result.status, stderr: result.stderr }).toEqual({ status: 0, stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('have the serial number and the queues that they were given', () => {
    expect(told).toMatchObject({ serial: 'bulkhead-serial-01', queues: '4' })
  })

  it('work through all their queues at once, one for each vCPU', () => {
    expect(told).toMatchObject({ queue0: 'used', queue1: 'used', queue2: 'used', queue3: 'used' })
  })

  it('hold a file system that is whole, and the same files, after a reset and a second boot with a network', () => {
    // The network came up with both: what each boot told of it.
    expect(result.stdout.match(/^network: 10\.0\.2\.15\/24\r$/gm)).toHaveLength(2)
    expect(told).toMatchObject({ 'after-writing': 'clean', 'after-reset': 'clean', 'same-files': '8' })
  })

  it('give a read-only file as it is, and take no writes to it', () => {
    expect(told).toMatchObject({ 'read-only': '0 1', fixed: hash(FIXED), refused: 'write' })
    expect(readFileSync(path('fixed')).equals(FIXED)).toBe(true)
  })

  it('make a hole in the file of what the guest discards, and keep the rest', () => {
    expect(told).toMatchObject({ discard: 'done' })
    const after = readFileSync(path('holed'))
    expect(after.subarray(0, 16 * MIB).equals(HOLED.subarray(0, 16 * MIB))).toBe(true)
    expect(after.subarray(16 * MIB, 32 * MIB).every(byte => byte === 0)).toBe(true)
    expect(after.subarray(32 * MIB, 48 * MIB).equals(HOLED.subarray(32 * MIB, 48 * MIB))).toBe(true)
    expect(statSync(path('holed')).blocks * 512).toBeLessThanOrEqual(48 * MIB + 64 * 1024)
  })

  it('write directly and from threads what the guest reads back', () => {
    expect(told).toMatchObject({ holed: hash(readFileSync(path('holed'))) })
  })
})

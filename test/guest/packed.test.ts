import { createHash } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, runGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'

const MIB = 2 ** 20
/** VIRTIO_F_RING_PACKED is bit 34, and the file has one character for each bit. */
const SCRIPT = `
  echo "packed: $(cut -c 35 /sys/bus/virtio/devices/virtio*/features | tr -d '\\n')"
  dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync 2>/dev/null
  echo "disk: $(sha256sum </dev/vda | cut -d ' ' -f 1)"
  echo "network: $(ip -o -4 address show eth0 | awk '{ print $4 }')"
  echo "entropy: $(dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c)"
`

const place = new Place({ ownCache: false })
beforeAll(() => prepareGuest(), SETUP_LIMIT_MS)
afterAll(() => place[Symbol.dispose]())

describe('packed virtqueues', () => {
  it(
    'carry console, disk, network and entropy in Linux',
    async () => {
      const path = join(place.root, 'disk')
      writeFileSync(path, '')
      truncateSync(path, 16 * MIB)
      const words = ['--packed', '--rng', '-n', 'user', '-d', path, '--', 'sh', '-c', SCRIPT]
      const { status, stdout } = await runGuest(place, words)
      expect({ status, ...factsOf(stdout) }).toEqual({
        status: 0,
        packed: '1111',
        disk: createHash('sha256').update(readFileSync(path)).digest('hex'),
        network: expect.stringMatching(/^10\.0\.2\.\d+\//) as string,
        entropy: '64',
      })
    },
    BOOT_LIMIT_MS,
  )
})

import { freemem } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../src/base/log.ts'
import { type DefaultGuest, prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { Place } from '../support/bulkhead.ts'
import { prepareGuest, runGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'

const MIB = 2 ** 20
/** What Linux says of its loader: 255 is a boot protocol's "unknown", 0xb0 a PVH start. */
const LOADER = { linux64: '255', pvh: '176' } as const
const LARGE_MIB = 6144
/** The guest's, and what the process and the rig need beside it. */
const LARGE_NEEDS_MIB = LARGE_MIB + 2048

let guest: DefaultGuest
const place = new Place({ ownCache: false })
beforeAll(async () => {
  await prepareGuest()
  guest = await prepareDefaultGuest({ log: new Log('error') })
}, SETUP_LIMIT_MS)
afterAll(() => place[Symbol.dispose]())

/** What the guest finds itself to be. */
async function inspect(words: readonly string[], before = '') {
  const script = `${before}nproc; cat /proc/sys/kernel/bootloader_type; grep MemTotal /proc/meminfo; exit 3`
  const { status, stdout, stderr } = await runGuest(place, [...words, '--', 'sh', '-c', script])
  const [cpus, loader, memory] = stdout.split('\n')
  expect({ status, stderr }).toEqual({ status: 3, stderr: '' })
  return { cpus, loader, totalMiB: Number(/([0-9]+) kB/.exec(memory ?? '')?.[1]) / 1024 }
}

describe('a guest', () => {
  it('boots a bzImage by the 64-bit protocol, in 256 MiB', async () => {
    const { totalMiB, ...rest } = await inspect(['-k', guest.bzImage, '-m', '256M', '-c', '1'])
    expect(rest).toEqual({ cpus: '1', loader: LOADER.linux64 })
    // Linux counts what its own image does not take.
    expect(totalMiB).toBeGreaterThan(256 - 80)
    expect(totalMiB).toBeLessThan(256)
  })

  it('boots a bzImage by PVH', async () => {
    expect(await inspect(['-k', guest.bzImage, '--protocol', 'pvh'])).toMatchObject({ loader: LOADER.pvh })
  })

  it('boots a vmlinux by the 64-bit protocol, with 4 vCPUs', async () => {
    const machine = await inspect(['-k', guest.kernel, '--protocol', 'linux64', '-c', '4'])
    expect(machine).toMatchObject({ cpus: '4', loader: LOADER.linux64 })
  })

  it('boots the default guest by PVH, with 16 vCPUs', async () => {
    // Early in its boot Linux takes 250 timer interrupts a second on each vCPU. Sixteen of them are more than the rig
    // bears on a slow machine: the boot took 20 s on one machine, and 152 s on one half as fast. Later an idle vCPU has none.
    const others = 'for cpu in /sys/devices/system/cpu/cpu*/online; do echo 1 >$cpu; done; '
    const machine = await inspect(['-c', '16', '-p', 'maxcpus=1'], others)
    expect(machine).toMatchObject({ cpus: '16', loader: LOADER.pvh })
  })
})

const noRoom = freemem() < LARGE_NEEDS_MIB * MIB ? `less than ${LARGE_NEEDS_MIB} MiB are free here` : undefined
describeUnless(noRoom, 'a guest of 6 GiB', () => {
  it('has its memory on both sides of the PCI hole', async () => {
    const script = 'grep MemTotal /proc/meminfo; grep "System RAM" /proc/iomem'
    const words = ['-k', guest.kernel, '--protocol', 'pvh', '-m', '6G', '--', 'sh', '-c', script]
    const { status, stdout, stderr } = await runGuest(place, words)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(Number(/([0-9]+) kB/.exec(stdout)?.[1]) / 1024).toBeGreaterThan(LARGE_MIB - 300)
    const ranges = [...stdout.matchAll(/^([0-9a-f]+)-([0-9a-f]+) : System RAM$/gm)]
    const starts = ranges.map(([, start]) => Number.parseInt(start!, 16))
    const ends = ranges.map(([, , end]) => Number.parseInt(end!, 16) + 1)
    expect(starts).toContain(2 ** 32)
    expect(ends.filter(end => end <= 2 ** 32).at(-1)).toBeLessThanOrEqual(0xfee0_0000)
    const total = ends.reduce((sum, end, index) => sum + end - starts[index]!, 0)
    expect(total / MIB).toBeGreaterThan(LARGE_MIB - 2)
  })
})

/**
 * The host's side of passthrough on a real /dev/vfio: containers keep the rules that the unit tests hold them to, devices
 * do what they are asked, and what cannot be had is refused in words.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { projectFile } from '../../src/base/project.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { VfioHost } from '../support/vfio-guest.ts'

const [EDU, NVME, NIC] = ['00:10.0', '00:11.0', '00:12.0']
const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-vfio-'))
/** More than the NVMe needs to be there. */
const DISK_BYTES = 2 ** 20

let host: VfioHost
beforeAll(async () => {
  const disk = join(DIRECTORY, 'disk')
  await Bun.write(disk, new Uint8Array(DISK_BYTES))
  const program = await bundle()
  const install = `head -c ${statSync(program).size} $file1 >/tmp/program.js; try() { bun /tmp/program.js "$@" 2>&1; }`
  const devices = ['edu', `nvme=${disk}`, 'e1000e']
  host = await VfioHost.start({ devices, files: [program], prelude: install })
  await host.output(`for device in ${EDU} ${NVME} ${NIC}; do driver $device vfio-pci; done`)
}, SETUP_LIMIT_MS)
afterAll(async () => {
  await host?.[Symbol.asyncDispose]()
  rmSync(DIRECTORY, { recursive: true })
})

/** The program in one file. */
async function bundle(): Promise<string> {
  const entry = projectFile('test/support/container-program.ts')
  const { outputs } = await Bun.build({ entrypoints: [entry], target: 'bun', minify: true, outdir: DIRECTORY })
  return outputs[0]!.path
}

describe.sequential('a host with VFIO', () => {
  it('has the regions, interrupts and resets of its devices', async () => {
    expect(await host.facts(`try devices ${EDU} ${NVME} ${NIC}`)).toEqual({
      '10.0-regions': '100000m 0 0 0 0 0 0 100 0',
      '10.0-irqs': '1/7 1/9 0/9 0/0 1/9',
      '10.0-id': '11e81234',
      '10.0-bytes': '3412e811',
      '10.0-reset': 'none',
      '11.0-regions': '4000m 0 0 0 0 0 0 1000 0',
      '11.0-irqs': '1/7 0/9 65/1 1/9 1/9',
      '11.0-id': '101b36',
      '11.0-bytes': '361b1000',
      '11.0-reset': 'function',
      '12.0-regions': '20000m 20000m 20 4000m 0 0 0 1000 0',
      '12.0-irqs': '1/7 1/9 5/1 1/9 1/9',
      '12.0-id': '10d38086',
      '12.0-bytes': '8680d310',
      '12.0-reset': 'function',
      'past-the-end': 'ffff',
      'missing-region': 'ffffffff',
    })
  })

  it('signals, masks and turns off interrupts', async () => {
    expect(await host.facts(`try interrupts ${EDU}`)).toEqual({
      register: '10000ed',
      msi: '1',
      'too-many': 'VFIO_DEVICE_SET_IRQS failed: EINVAL (errno 22)',
      off: '0',
      intx: '1',
      'still-asserted': '1',
      acknowledged: '0',
    })
  })

  it('has containers with the rules of those in the unit tests, and a limit', async () => {
    await host.output('echo 24 >/sys/module/vfio_iommu_type1/parameters/dma_entry_limit')
    const told = await host.facts(`try containers ${NIC}`)
    await host.output('echo 65535 >/sys/module/vfio_iommu_type1/parameters/dma_entry_limit')
    expect(told).toEqual({
      ranges: '0-fedfffff fef00000-7fffffffff',
      pages: '40201000',
      limit: '24',
      rules: 'the same',
      'back-end': 'the same',
    })
  })

  it('locks no more memory for DMA than a user may', async () => {
    const told = await host.facts(`
      chmod 666 /dev/vfio/*
      (ulimit -l 1024; su -s /bin/sh nobody -c 'bun /tmp/program.js limit ${EDU}')`)
    expect(told).toEqual({
      allowed: '1048576',
      check: expect.stringContaining('need 16 MiB') as string,
      beyond: '-12',
      within: '0',
    })
  })

  it('says who has a group, and takes a device back while its group is open', async () => {
    expect(await host.facts(`try groups ${NIC}`)).toEqual({
      twice: `0000:${NIC} is passed through twice`,
      elsewhere: expect.stringMatching(`^group \\d+ of 0000:${NIC} is in use by another process$`) as string,
      again: 'true',
      unbound: 'true',
      container: '-22',
    })
  })
})

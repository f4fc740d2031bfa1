/** `bulkhead vfio` and `bulkhead doctor` on a host that has an IOMMU, devices, and a kernel that moves them. */
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../src/cli/doctor-finding.ts'
import type { DeviceStatus } from '../../src/cli/vfio-status.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { VfioHost } from '../support/vfio-guest.ts'

const DISK_BYTES = 2 ** 24
const PROGRAM = new URL('../support/kernel-log-program.ts', import.meta.url).pathname

/** try COMMAND...: what it writes on both outputs, and its status. settled: waits for the disk. */
const COMMANDS = `
  try() { "$@" 2>&1; echo "status $?"; }
  settled() {
    tries=0; until [ -b /dev/nvme0n1 ] || [ $tries = 600 ]; do usleep 50000; tries=$((tries + 1)); done
  }
  settled
`

/** A bundle of a program in a file. */
async function bundle(folder: string): Promise<string> {
  const { outputs } = await Bun.build({ entrypoints: [PROGRAM], target: 'bun' })
  const path = join(folder, 'program.js')
  writeFileSync(path, (await outputs[0]?.text()) ?? '')
  return path
}

describe.sequential('a host with devices to give away', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bh-host-'))
  let host: VfioHost
  let programBytes = 0
  beforeAll(async () => {
    const disk = join(folder, 'disk')
    writeFileSync(disk, '')
    truncateSync(disk, DISK_BYTES)
    const program = await bundle(folder)
    programBytes = statSync(program).size
    host = await VfioHost.start({ devices: ['edu', `nvme=${disk},rw`], files: [program], prelude: COMMANDS })
  }, SETUP_LIMIT_MS)
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const lines = async (command: string) => (await host.output(command)).split('\n').filter(line => line !== '')

  it('shows its devices', async () => {
    const [head, ...rows] = await lines('bulkhead vfio status 00:10.0 00:11.0 00:1f.2')
    expect(head).toMatch(/^ADDRESS +GROUP +DRIVER +ID +KIND +ALSO IN THE GROUP +IN USE$/)
    expect(rows.map(row => row.replace(/ +/g, ' '))).toEqual([
      expect.stringMatching(/^0000:00:10\.0 \d+ - 1234:11e8 unclassified - -$/),
      expect.stringMatching(/^0000:00:11\.0 \d+ nvme 1b36:0010 NVMe storage - -$/),
      expect.stringMatching(/^0000:00:1f\.2 \d+ - 8086:2922 SATA storage 0000:00:1f\.0 0000:00:1f\.3 -$/),
    ])
  })

  it('gives devices to vfio-pci, once, and back to what had them', async () => {
    expect(await lines('try bulkhead vfio bind 00:10.0 0000:00:11.0; ls /dev/vfio | wc -l')).toEqual([
      '0000:00:10.0: vfio-pci (was no driver)',
      '0000:00:11.0: vfio-pci (was nvme)',
      'status 0',
      '3',
    ])
    expect(await lines('try bulkhead vfio bind 00:11.0; [ -b /dev/nvme0n1 ] || echo gone')).toEqual([
      '0000:00:11.0: vfio-pci',
      'status 0',
      'gone',
    ])
    expect(await lines('try bulkhead vfio unbind 00:10.0 00:11.0; settled; [ -b /dev/nvme0n1 ] && echo back')).toEqual([
      '0000:00:10.0: no driver (was vfio-pci)',
      '0000:00:11.0: nvme (was vfio-pci)',
      'status 0',
      'back',
    ])
    const overrides = await lines('cat /sys/bus/pci/devices/0000:00:1[01].0/driver_override; ls /run/bulkhead/vfio')
    expect(overrides).toEqual(['(null)', '(null)'])
  })

  it('keeps a mounted disk from a slip of the hand, and the device that was named before it', async () => {
    await host.output('mke2fs -F /dev/nvme0n1 >/dev/null && mkdir -p /mnt && mount -t ext4 /dev/nvme0n1 /mnt')
    expect(await lines('try bulkhead vfio bind 00:10.0 00:11.0; umount /mnt; driver 00:10.0; driver 00:11.0')).toEqual([
      'bulkhead: 0000:00:11.0 is in use (nvme0n1 is mounted on /mnt): end that, or do it all the same with bulkhead vfio bind --force 0000:00:11.0',
      'status 2',
      'nvme',
    ])
  })

  it('keeps a device from a process that has it, but for force', async () => {
    const held = await lines(`
      bulkhead vfio bind 00:11.0 >/dev/null
      sleep 1000 3<>/dev/vfio/$(basename $(readlink /sys/bus/pci/devices/0000:00:11.0/iommu_group)) & holder=$!
      try bulkhead vfio unbind 00:11.0
      try bulkhead vfio unbind --force 00:11.0
      kill $holder; wait $holder 2>/dev/null; settled; driver 00:11.0`)
    expect(held).toEqual([
      expect.stringMatching(/^bulkhead: 0000:00:11\.0 is in use \(process \d+ \(sleep\) has it open\): end that, or/),
      'status 2',
      '0000:00:11.0: nvme (was vfio-pci)',
      'status 0',
      'nvme',
    ])
  })

  it('is examined by the doctor', async () => {
    await host.output('bulkhead vfio bind 00:10.0')
    const { findings, devices } = JSON.parse(await host.output('bulkhead doctor --json')) as {
      readonly findings: readonly Finding[]
      readonly devices: readonly DeviceStatus[]
    }
    const state = (name: string) => findings.find(finding => finding.name === name)?.state
    const names = ['KVM', 'IOMMU', 'interrupt remapping', 'vfio-pci', '/dev/vfio/vfio', 'DMA mappings', 'kernel log']
    expect(names.filter(name => state(name) !== 'ok')).toEqual([])
    expect(findings.filter(({ name }) => /^\/dev\/vfio\/\d+$/.test(name)).map(finding => finding.state)).toEqual(['ok'])
    expect(devices.find(({ address }) => address === '0000:00:10.0')).toMatchObject({
      isBound: true,
      kind: 'unclassified',
    })
    expect(await host.output('bulkhead doctor; bulkhead vfio unbind 00:10.0 >/dev/null')).toMatch(
      /^ok +KVM +runs Linux guests$/m,
    )
  })

  it("reads the faults in the kernel's log, also when it has run over", async () => {
    expect(await lines(`head -c ${programBytes} $file1 >/tmp/program.js; bun /tmp/program.js`)).toEqual([
      'from now on: 0000:00:02.0, lost: false',
      'after a flood: 0000:00:03.0, lost: true',
      'believed of a program: 0',
    ])
  })
})

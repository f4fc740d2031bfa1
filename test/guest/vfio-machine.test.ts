/** The machine around passed devices: what it refuses, what it tells of them, and how the host takes one back. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MachineStat } from '../../src/control/machine-control.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { VfioHost } from '../support/vfio-guest.ts'

const DISK_BYTES = 64 * 2 ** 20
const EDU = '00:10.0'
const NVME = '00:11.0'
/** The identification register of edu, version 1.0 (QEMU, docs/specs/edu.rst). */
const EDU_ID = '0x10000ed'
/** Device and vendor of QEMU's NVMe disk. */
const DISK_ID = '00101b36'
/** In the guest, behind the second and the third root port: the console is behind the first. */
const EDU_PLACE = '0000:02:00.0'
const DISK_PLACE = '0000:03:00.0'

/** refused OPTION...: how a guest is refused. */
const COMMANDS = `
  refused() { bulkhead run "$@" -- true 2>/tmp/refusal; echo "status: $?"; echo "message: $(cat /tmp/refusal)"; }
  unbind() { timeout 20 sh -c "echo 0000:$1 >/sys/bus/pci/drivers/vfio-pci/unbind"; echo "unbind: $?"; }
`
const GUEST_COMMANDS = `
  bar() { sed -n '1s/ .*//p' /sys/bus/pci/devices/$1/resource; }
  id() { od -An -tx4 -N4 /sys/bus/pci/devices/$1/config | tr -d ' '; }
`

/** In order: the guest is the same one. */
describe.sequential('a machine with devices of the host', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bh-vfio-machine-'))
  let host: VfioHost
  beforeAll(async () => {
    const disk = join(folder, 'disk')
    writeFileSync(disk, '')
    truncateSync(disk, DISK_BYTES)
    host = await VfioHost.start({
      devices: ['edu', `nvme=${disk}`],
      prelude: COMMANDS,
      guestPrelude: GUEST_COMMANDS,
    })
  }, SETUP_LIMIT_MS)
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const statOf = async (name: string) =>
    (JSON.parse(await host.output(`bulkhead stat ${name} --json`)) as readonly MachineStat[])[0]?.devices ?? []

  it.each([
    [
      'a device that belongs to the host',
      `--vfio ${NVME}`,
      `bulkhead: 0000:${NVME} is not bound to vfio-pci (driver nvme has it): run "bulkhead vfio bind 0000:${NVME}" first`,
    ],
    [
      "an input range beyond the host's",
      `--vfio ${EDU},bind --iommu all,input=0-ffffffffffff`,
      "bulkhead: the host's IOMMU maps 0-7fffffffff for vfio0, and the guest's is to map 0-ffffffffffff: make input= smaller",
    ],
  ])('is refused %s', async (_, options, message) => {
    expect(await host.facts(`refused ${options}`)).toEqual({ status: '2', message })
    expect(await host.facts(`echo "edu: $(driver ${EDU})"; echo "disk: $(driver ${NVME})"`)).toEqual({
      edu: '',
      disk: 'nvme',
    })
  })

  it('is refused more memory than its user may lock, and told how much it takes', async () => {
    const told = await host.facts(`
      bulkhead vfio bind ${EDU} >/dev/null; chmod 666 /dev/vfio/* /dev/kvm; chmod a+r /dev/vd*; chmod 1777 /tmp
      (ulimit -l 65536; su -s /bin/sh nobody -c 'bulkhead run -m 128 --vfio ${EDU} -- true' 2>/tmp/refusal; echo "status: $?")
      echo "message: $(cat /tmp/refusal)"; bulkhead vfio unbind ${EDU} >/dev/null`)
    expect(told).toEqual({
      status: '2',
      message: expect.stringMatching(
        /^bulkhead: the devices need 128 MiB of .* may lock 64 MiB .*ulimit -l 131072/,
      ) as string,
    })
  })

  it('tells what its devices have mapped, and shows their registers', async () => {
    await host.startGuest('guest', `-m 160 --root-ports --iommu all --vfio ${EDU},bind --vfio ${NVME},bind`)
    const { bar = '', disk } = await host.inGuest(
      'guest',
      `echo "bar: $(bar ${EDU_PLACE})"; echo "disk: $(id ${DISK_PLACE})"`,
    )
    expect(disk).toBe(DISK_ID)
    expect(await host.facts(`echo "id: $(bulkhead debug guest --mmio ${bar})"`)).toEqual({ id: EDU_ID })
    const devices = (await statOf('guest')).filter(({ name }) => name.startsWith('vfio'))
    expect(devices.map(({ name }) => name)).toEqual([`vfio0 0000:${EDU}`, `vfio1 0000:${NVME}`])
    // The register above was read by the device thread. The disk's BAR has two pages of MSI-X that are not mapped.
    expect(devices[0]?.counters).toMatchObject({ trapped: 1, mappedBytes: 2 ** 20, mappingLimit: 65_535 })
    expect(devices[1]?.counters).toMatchObject({ mappedBytes: 2 ** 13, vectors: 2 })
  })

  it('goes on without a device that the host takes back', async () => {
    expect(await host.facts(`unbind ${NVME}; echo "driver: $(driver ${NVME})"`)).toEqual({ unbind: '0', driver: '' })
    expect(await host.inGuest('guest', `echo "disk: $(id ${DISK_PLACE})"`)).toEqual({ disk: 'ffffffff' })
    expect((await statOf('guest')).at(-1)?.counters).toMatchObject({ mappedBytes: 0, vectors: 0, mappings: 0 })
  })

  it('says so once, and gives everything back at its end', async () => {
    const told = await host.facts(`end guest; echo "edu: $(driver ${EDU})"; echo "disk: $(driver ${NVME})"`)
    const errors = `bulkhead: vfio1: the host wants 0000:${NVME} back: it leaves the guest;`
    expect(told).toEqual({ status: '0', errors, edu: '', disk: 'nvme' })
  })
})

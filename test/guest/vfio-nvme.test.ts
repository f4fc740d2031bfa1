/** An NVMe disk of the host in a Linux guest, in each way that its IOMMU can be used, and after what may happen to either. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { IommuFinding, IommuViewState } from '../../src/machine/iommu-view.ts'
import { Place } from '../support/bulkhead.ts'
import { guestTools, mountTools } from '../support/guest-tools.ts'
import { endpointOf } from '../support/iommu-guest.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'
import { VfioHost } from '../support/vfio-guest.ts'

const MIB = 2 ** 20
const DISK_MIB = 64
const FILES_MIB = 48

/**
 * For guests and the host alike. The file system leaves the end of the disk free.
 *
 * ready: waits for the disk. format: makes the file system. fill: writes four files and their checksums; check: how many
 * of them are as they were. group: how the IOMMU treats it.
 */
const COMMANDS = `
  disk=/dev/nvme0n1
  mkdir -p /mnt
  ready() {
    tries=0; until [ -b $disk ] || [ $tries = 600 ]; do usleep 50000; tries=$((tries + 1)); done
  }
  format() { /opt/tools/mke2fs -q -F -t ext4 $disk ${FILES_MIB}M; }
  fill() {
    mount $disk /mnt
    for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=64k count=4 conv=fsync 2>/dev/null; done
    (cd /mnt && sha256sum 1 2 3 4 >sums)
    umount /mnt
  }
  check() {
    echo 3 >/proc/sys/vm/drop_caches
    mount -o ro $disk /mnt && (cd /mnt && sha256sum -c sums 2>/dev/null | grep -c OK); umount /mnt
  }
  place() { basename $(ls -d /sys/bus/pci/drivers/nvme/0000:*); }
  group() { cat /sys/bus/pci/devices/$(place)/iommu_group/type 2>/dev/null || echo none; }
`

/** For guests: what of the driver is to be seen. Each CPU reads past the cache, so each queue has its turn. */
const GUEST_COMMANDS = `
  ${mountTools('/dev/vda')}
  ${COMMANDS}
  read_on() { taskset -c $1 dd if=$disk of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null; }
  vectors() {
    awk '/nvme0q/ { sum = 0; for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i; if (sum > 0) used++ } END { print used + 0 }' /proc/interrupts
  }
  # Statistics have the flushes in their 16th field.
  flushed() { awk '{ print ($16 > 0) ? "yes" : "no" }' /sys/block/nvme0n1/stat; }
  complaints() { dmesg | grep -iE 'nvme.*(fail|error|timeout|reset)|I/O error|BUG:|Oops|stall|hung|nobody cared| fault from ' | tr '\\n' ';'; }
`

/** A disk's file, which is empty. */
function newDisk(folder: string): string {
  const path = join(folder, 'disk')
  writeFileSync(path, '')
  truncateSync(path, DISK_MIB * MIB)
  return path
}

/** Little memory, as all of it is pinned where the guest does not translate. */
const DEVICE = '-m 192 -d $file1,ro --vfio 00:11.0,bind'

/** In order: each finds the disk as the one before left it. */
describe.sequential('an NVMe disk that is passed to a Linux guest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bh-nvme-'))
  let host: VfioHost
  beforeAll(async () => {
    const disk = newDisk(folder)
    const files = [await guestTools()]
    host = await VfioHost.start({
      devices: [`nvme=${disk},rw`],
      files,
      prelude: COMMANDS,
      guestPrelude: GUEST_COMMANDS,
    })
  }, SETUP_LIMIT_MS)
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  async function iommuState(name: string) {
    const text = await host.output(`bulkhead iommu list ${name} --json`)
    return JSON.parse(text) as IommuViewState & { readonly findings?: readonly IommuFinding[] }
  }

  it('is formatted, written and read behind a strict IOMMU, with an interrupt for each queue', async () => {
    await host.startGuest('strict', `-c 2 --iommu all --iommu-check -p iommu.strict=1 ${DEVICE}`)
    const told = await host.inGuest(
      'strict',
      `ready; format && fill; read_on 0; read_on 1
      echo "sectors: $(cat /sys/block/nvme0n1/size)"; echo "group: $(group)"; echo "files: $(check)"
      echo "queues: $(ls /sys/block/nvme0n1/mq | wc -l)"; echo "vectors: $(vectors)"; echo "flushed: $(flushed)"
      echo "complaints: $(complaints)"`,
    )
    expect(told).toEqual({
      ...{ sectors: String((DISK_MIB * MIB) / 512), group: 'DMA', files: '4' },
      ...{ queues: '2', vectors: '3', flushed: 'yes', complaints: '' },
    })
  })

  it("has no mapping left when the guest's driver goes, and works when it comes back", async () => {
    const gone = await host.inGuest(
      'strict',
      'place=$(place); echo $place >/sys/bus/pci/drivers/nvme/unbind; [ -b $disk ] || echo "disk: gone"',
    )
    expect(gone).toEqual({ disk: 'gone' })
    expect(endpointOf(await iommuState('strict'), 'vfio0')).toMatchObject({ treatment: 'translate', mappings: 0 })
    const back = await host.inGuest(
      'strict',
      'echo $place >/sys/bus/pci/drivers/nvme/bind; ready; echo "files: $(check)"',
    )
    expect(back).toEqual({ files: '4' })
    const state = await iommuState('strict')
    expect(endpointOf(state, 'vfio0').mappings).toBeGreaterThan(0)
    expect(state.findings ?? []).toEqual([])
  })

  it('is taken back by the host whole when the hypervisor is killed in the middle of I/O', async () => {
    const busy = `
      for i in 1 2; do
        (while true; do dd if=/dev/zero of=$disk bs=64k seek=$((${FILES_MIB + 8} * 16)) count=64 oflag=direct; done) 2>/dev/null &
      done
      usleep 500000; echo "busy: $(cut -d ' ' -f 9 /sys/block/nvme0n1/inflight 2>/dev/null || echo yes)"`
    await host.inGuest('strict', busy)
    const told = await host.facts(`
      crash strict; echo "left: $(driver 00:11.0)"
      bulkhead vfio unbind 00:11.0 >/dev/null 2>/tmp/unbind; echo "unbind: $? $(cat /tmp/unbind)"
      ready; echo "driver: $(driver 00:11.0)"; echo "files: $(check)"`)
    expect(told).toEqual({ left: 'vfio-pci', unbind: '0 ', driver: 'nvme', files: '4' })
  })

  it('works in the next guest, in passthrough mode', async () => {
    await host.startGuest('identity', `--iommu all --iommu-check -p iommu.passthrough=1 ${DEVICE}`)
    const told = await host.inGuest(
      'identity',
      `ready; echo "group: $(group)"; echo "before: $(check)"; fill; echo "files: $(check)"
      echo "complaints: $(complaints)"`,
    )
    expect(told).toEqual({ group: 'identity', before: '4', files: '4', complaints: '' })
    expect(await host.facts('end identity')).toEqual({ status: '0', errors: '' })
  })

  it('works without an IOMMU in the guest, and the host has what the guest wrote', async () => {
    await host.startGuest('plain', DEVICE)
    const told = await host.inGuest(
      'plain',
      `ready; echo "group: $(group)"; echo "before: $(check)"; fill; echo "files: $(check)"
      echo "complaints: $(complaints)"; sum=$(head -c 300000 /dev/urandom | tee /tmp/data | sha256sum | cut -c 1-64)
      mount $disk /mnt; cp /tmp/data /mnt/data; umount /mnt; echo "sum: $sum"`,
    )
    expect(told).toMatchObject({ group: 'none', before: '4', files: '4', complaints: '' })
    expect(await host.facts('end plain')).toEqual({ status: '0', errors: '' })
    const there = await host.facts(`
      ready; echo "driver: $(driver 00:11.0)"; echo "files: $(check)"
      mount -o ro $disk /mnt; echo "sum: $(sha256sum </mnt/data | cut -c 1-64)"; umount /mnt`)
    expect(there).toEqual({ driver: 'nvme', files: '4', sum: told['sum'] })
  })
})

describe("an NVMe disk of the rig's in a guest that resets", () => {
  const SCRIPT = `
    ${COMMANDS}
    ready
    case $1 in
    first)
      head -c ${MIB} /dev/urandom >/tmp/data
      dd if=/tmp/data of=$disk bs=64k conv=fsync 2>/dev/null
      echo "written: $(sha256sum </tmp/data | cut -c 1-64)"; reboot -f ;;
    second)
      echo "read: $(head -c ${MIB} $disk | sha256sum | cut -c 1-64)"; echo "group: $(group)"
      echo "second is done"; poweroff -f ;;
    esac
  `
  const PROMPT = '~ # '
  const place = new Place({ ownCache: false })
  afterEach(() => place[Symbol.dispose]())

  it('is there before and after, and its file has what the guest wrote', async () => {
    await prepareGuest()
    const disk = newDisk(place.root)
    const script = join(place.root, 'script')
    writeFileSync(script, Buffer.concat([Buffer.from(SCRIPT), Buffer.alloc(-SCRIPT.length & 511, '\n')]))
    const iommu = ['--iommu', 'all', '--iommu-check', '-p', 'iommu.strict=1']
    const words = ['--host', 'rig', '-m', '192', '--reboot', ...iommu, '-d', `${script},ro`, '--vfio', `nvme=${disk}`]
    const run = startGuest(place, words, { stdin: null, timeoutMs: 3 * BOOT_LIMIT_MS })
    await run.saw(PROMPT)
    run.type('sh /dev/vda first\n')
    await run.saw(PROMPT, 2)
    run.type('sh /dev/vda second\n')
    const { status, stdout, stderr } = await run.result
    const file = createHash('sha256').update(readFileSync(disk).subarray(0, MIB)).digest('hex')
    expect({ status, stderr, ...factsOf(stdout) }).toMatchObject({
      ...{ status: 0, stderr: '', written: file, read: file, group: 'DMA' },
    })
  })
})

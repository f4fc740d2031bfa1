/** Linux guests behind the IOMMU: shell functions for them, and what their host sees. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { IommuFinding, IommuViewState } from '../../src/machine/iommu-view.ts'
import { COMMON_OFFSET, NOTIFY_OFFSET } from '../../src/virtio/pci-layout.ts'
import { type CliResult, Place } from './bulkhead.ts'
import { GuestShell } from './guest-shell.ts'
import { guestTools, mountTools } from './guest-tools.ts'
import { prepareGuest } from './linux-guest.ts'

const MIB = 2 ** 20
const NAME = 'guest'

/**
 * Commands for guests. /dev/vda is the test's to write, /dev/vdb has tools.
 *
 * groups: a line for each group, named by its first function: its type, how many functions, its reserved regions.
 * unbind, bind FUNCTION: from and to its driver.
 * files: makes a file system with four files; check: how many of them are as they were.
 * lease: an address by DHCP. complaints: what the kernel's log of a good run has not.
 */
const COMMANDS = `
  groups() {
    for group in /sys/kernel/iommu_groups/[0-9]*; do
      set -- $(ls $group/devices)
      echo "group-$(echo \${1#0000:} | tr : .): $(cat $group/type) $# $(sed 's/0x0*\\([0-9a-f]\\)/\\1/g' $group/reserved_regions | tr '\\n' ' ')"
    done
  }
  unbind() { echo 0000:$1 >/sys/bus/pci/drivers/virtio-pci/unbind; }
  bind() { echo 0000:$1 >/sys/bus/pci/drivers/virtio-pci/bind; }
  files() {
    /opt/tools/mke2fs -q -F -t ext4 /dev/vda && mount /dev/vda /mnt
    for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=64k count=16 2>/dev/null; done
    sha256sum /mnt/? >/tmp/sums
    umount /mnt
  }
  check() { mount -o ro /dev/vda /mnt && sha256sum -c /tmp/sums 2>/dev/null | grep -c OK; umount /mnt; }
  lease() {
    ip address flush dev eth0; ifconfig eth0 up
    udhcpc -i eth0 -q -n -t 10 -T 1 -s /bulkhead/dhcp >/dev/null 2>&1
    ip -o -4 address show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'
  }
  entropy() { dd if=/dev/hwrng bs=1k count=4 2>/dev/null | wc -c; }
  complaints() {
    dmesg | grep -E 'virtio.*(fail|error|timeout|broken)|I/O error|BUG:|Oops|WARNING.* at drivers|stall|hung|nobody cared| fault from ' |
      tr '\\n' ';'
  }
`

/**
 * stray FUNCTION ADDRESS: drives a device that has no driver, by hand, as a broken driver would: tells it of a queue at
 * that address, which nobody mapped for it, and rings the doorbell. VIRTIO 1.2 §4.1.4.3.
 */
export const STRAY_DMA = `
  stray() {
    bar=$(head -n 1 /sys/bus/pci/devices/0000:$1/resource | cut -d ' ' -f 1)
    put() { devmem $((bar + ${COMMON_OFFSET} + $1)) $2 $3; }
    setpci -s $1 COMMAND=6:6
    put 20 8 0; put 20 8 1; put 20 8 3
    # VIRTIO_F_VERSION_1 and VIRTIO_F_ACCESS_PLATFORM are bits 32 and 33.
    put 8 32 0; put 12 32 0; put 8 32 1; put 12 32 3
    put 20 8 11
    put 22 16 0
    for field in 32 40 48; do put $field 32 $2; put $((field + 4)) 32 0; done
    put 28 16 1
    put 20 8 15
    devmem $((bar + ${NOTIFY_OFFSET})) 16 0
    usleep 300000
    echo "status: $(put 20 8)"
  }
`

/** A guest with an IOMMU, a disk that can be written, tools, and what else its words give it. */
export class IommuGuest implements AsyncDisposable {
  private constructor(
    readonly shell: GuestShell,
    private readonly place: Place,
    private readonly folder: string,
  ) {}

  /** Boots it; `words` are of `run`, and `paths` in them of files in a folder of its own. */
  static async start(words: (folder: string) => readonly string[], prelude = ''): Promise<IommuGuest> {
    await prepareGuest()
    const place = new Place({ ownCache: false })
    const folder = mkdtempSync(join(tmpdir(), 'bh-iommu-'))
    const disk = join(folder, 'disk')
    writeFileSync(disk, '')
    truncateSync(disk, 64 * MIB)
    const disks = ['-d', disk, '-d', `${await guestTools()},ro`]
    const commands = `${mountTools('/dev/vdb')} ${COMMANDS} ${prelude}`
    const shell = await GuestShell.start(place, ['--name', NAME, ...disks, ...words(folder)], commands)
    return new IommuGuest(shell, place, folder)
  }

  facts(command: string): Promise<Readonly<Record<string, string>>> {
    return this.shell.facts(command)
  }

  /** What `bulkhead iommu WORDS` writes about it. */
  async told(command: string, ...words: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.place.bulkhead(['iommu', command, NAME, ...words])
    if (status !== 0 || stderr !== '') throw new Error(`bulkhead iommu ${command} ended with ${status}: ${stderr}`)
    return stdout
  }

  /** The IOMMU's state. */
  async state(): Promise<IommuViewState & { readonly findings?: readonly IommuFinding[] }> {
    return JSON.parse(await this.told('list', '--json')) as IommuViewState
  }

  /** Path of a file in its folder. */
  path(name: string): string {
    return join(this.folder, name)
  }

  /** Ends it, and gives how it ended and what it left behind. */
  async end(): Promise<Pick<CliResult, 'status' | 'stderr'> & { readonly leftovers: readonly string[] }> {
    const { status, stderr } = await this.shell.end()
    return { status, stderr, leftovers: this.place.leftovers() }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shell[Symbol.asyncDispose]()
    this.place[Symbol.dispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** An endpoint's part of the state, and its domain's. */
export function endpointOf({ endpoints, domains }: IommuViewState, name: string) {
  const endpoint = endpoints.find(candidate => candidate.name === name)
  const domain = domains.find(({ id }) => id === endpoint?.domain)
  return {
    treatment: endpoint?.treatment,
    faults: endpoint?.faults,
    mappings: domain?.mappings,
    bypass: domain?.bypass,
  }
}

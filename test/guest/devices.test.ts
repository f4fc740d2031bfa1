import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CliResult, Place } from '../support/bulkhead.ts'
import { guestTools, mountTools } from '../support/guest-tools.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, runGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'

const MIB = 2 ** 20

/** A file system with files whose sums are in /tmp/sums, and `check`, which mounts it and compares. */
const FILES = `
  /opt/tools/mke2fs -q -t ext4 /dev/vda && mount /dev/vda /mnt
  for i in 1 2 3 4; do dd if=/dev/urandom of=/mnt/$i bs=64k count=16 2>/dev/null; done
  sha256sum /mnt/? >/tmp/sums
  umount /mnt
  check() { mount -o ro /dev/vda /mnt && sha256sum -c /tmp/sums 2>/dev/null | grep -c OK; umount /mnt; }
`
/** The network comes up by DHCP. */
const NETWORK = `
  dhcp() { ifconfig eth0 up; udhcpc -i eth0 -q -n -t 10 -T 1 -s /bulkhead/dhcp >/dev/null 2>&1 && echo leased; }
  address() { ip -o -4 address show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'; }
`
/** rebind virtioN: takes that device's PCI function away from its driver and gives it back. */
const REBIND = `
  rebind() {
    slot=$(cd -P /sys/bus/virtio/devices/$1/..; basename $PWD)
    echo $slot >/sys/bus/pci/drivers/virtio-pci/unbind && echo $slot >/sys/bus/pci/drivers/virtio-pci/bind
  }
`

let folder: string
let place: Place
let disk: string
let tools: string
beforeAll(async () => {
  await prepareGuest()
  tools = await guestTools()
  place = new Place({ ownCache: false })
  folder = mkdtempSync(join(tmpdir(), 'bh-devices-'))
  disk = join(folder, 'disk')
  writeFileSync(disk, '')
  truncateSync(disk, 64 * MIB)
}, SETUP_LIMIT_MS)
afterAll(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** Boots a guest with all devices that need nothing of the host, and gives what its script told. */
async function boot(words: readonly string[], script: string) {
  const devices = ['-d', disk, '-d', `${tools},ro`, '-n', 'user', '--rng', '--balloon']
  const whole = `${mountTools('/dev/vdb')} ${script}`
  const result = await runGuest(place, [...words, ...devices, '--', 'sh', '-c', whole], {
    timeoutMs: 2 * BOOT_LIMIT_MS,
  })
  return { result, told: factsOf(result.stdout) }
}

describe('the devices of a guest of 4 vCPUs', () => {
  const script = `
    ${FILES} ${NETWORK} ${REBIND}
    blk=/sys/bus/virtio/drivers/virtio_blk
    # Reset during I/O: readers of all kinds are under way when the driver resets the device.
    (dd if=/dev/vda of=/dev/null bs=64k iflag=direct; dd if=/dev/vda of=/dev/null bs=4k iflag=direct) 2>/dev/null &
    readers=$!
    (while [ -b /dev/vda ]; do dd if=/dev/vda of=/dev/null bs=1M; done) 2>/dev/null & readers="$readers $!"
    usleep 300000
    echo virtio1 >$blk/unbind && echo "unbound: under load"
    wait $readers
    [ -e /dev/vda ] || echo "disk: gone"
    echo virtio1 >$blk/bind && echo "after-unbinding: $(check)"
    for round in 1 2 3; do rebind virtio1; done
    echo "after-rebinding: $(check)"
    rebind virtio3
    echo "network: $(dhcp) $(address)"
    (while dd if=/dev/hwrng of=/dev/null bs=1k; do :; done) 2>/dev/null &
    usleep 100000
    rebind virtio4
    wait $!
    echo "entropy: $(dd if=/dev/hwrng bs=1k count=4 2>/dev/null | wc -c)"
    rebind virtio5
    echo "balloon: $(cat /sys/bus/virtio/drivers/virtio_balloon/virtio*/status)"
    # Interrupts of the entropy device, which no driver pins, moved from CPU to CPU while it works.
    irq=$(grep 'virtio[0-9]*-input$' /proc/interrupts | tail -n 1 | sed 's/ *\\([0-9]*\\):.*/\\1/')
    (while dd if=/dev/hwrng of=/dev/null bs=64 count=8; do :; done) 2>/dev/null &
    count() { set -- $(grep "^ *$irq:" /proc/interrupts); shift $(($cpu + 1)); echo $1; }
    for cpu in 1 2 3 0; do
      echo $cpu >/proc/irq/$irq/smp_affinity_list
      before=$(count)
      tries=0
      while [ $(count) -lt $((before + 5)) ] && [ $tries -lt 600 ]; do usleep 50000; tries=$((tries + 1)); done
      [ $(count) -ge $((before + 5)) ] && echo "cpu$cpu: interrupted"
    done
    kill $!
    lspci -i /opt/tools/pci.ids -vv 2>/dev/null
    dmesg | grep -E 'virtio.*(fail|error|timeout|broken)|I/O error|BUG:|Oops|stall|hung|nobody cared' >&2
    exit 0
  `
  let result: CliResult
  let told: Readonly<Record<string, string>>
  beforeAll(async () => {
    const booted = await boot(['-c', '4'], script)
    result = booted.result
    told = booted.told
  }, SETUP_LIMIT_MS)

  it('leave the kernel without complaints', () => {
    expect({ status: result.status, stderr: result.stderr }).toEqual({ status: 0, stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('can lose their driver in the midst of I/O, and work when they have one again', () => {
    expect(told).toMatchObject({ unbound: 'under load', disk: 'gone', 'after-unbinding': '4' })
  })

  it('can be taken from the PCI driver and given back', () => {
    const working = { 'after-rebinding': '4', network: 'leased 10.0.2.15', entropy: '4096', balloon: '0x0000000f' }
    expect(told).toMatchObject(working)
  })

  it('interrupt the CPU that the guest chose last, under load', () => {
    expect(told).toMatchObject({ cpu0: 'interrupted', cpu1: 'interrupted', cpu2: 'interrupted', cpu3: 'interrupted' })
  })

  it('are sane to lspci', () => {
    const functions = result.stdout.match(/^[0-9a-f]{2}:[0-9a-f]{2}\.[0-9] .*(\n\t.*)*/gm) ?? []
    expect(functions.map(text => text.split('\n')[0]!.replace(/ \(rev.*/, ''))).toEqual([
      '00:00.0 Host bridge: Red Hat, Inc. QEMU PCIe Host bridge',
      '00:01.0 Communication controller: Red Hat, Inc. Virtio 1.0 console',
      '00:02.0 Mass storage controller: Red Hat, Inc. Virtio 1.0 block device',
      '00:03.0 Mass storage controller: Red Hat, Inc. Virtio 1.0 block device',
      '00:04.0 Ethernet controller: Red Hat, Inc. Virtio 1.0 network device',
      expect.stringMatching(/^00:05\.0 .*: Red Hat, Inc\. Virtio 1\.0 RNG$/),
      expect.stringMatching(/^00:06\.0 .*: Red Hat, Inc\. Virtio 1\.0 memory balloon$/),
    ])
    const virtio = functions.slice(1)
    expect(virtio.filter(text => !/MSI-X: Enable\+ Count=[0-9]+ Masked-/.test(text))).toEqual([])
    expect(virtio.filter(text => !/Express \(v2\) Root Complex Integrated Endpoint/.test(text))).toEqual([])
    expect(virtio.filter(text => !/Kernel driver in use: virtio-pci/.test(text))).toEqual([])
    // The one thing that this lspci has no name for is the PCI-CFG window (type 5), which has no place in a BAR.
    const odd = /unknown|!!!|<chain (looped|broken)>|\(rev ff\)|access denied/i
    const window = /VirtIO: <unknown>\n\t\tBAR=0 offset=00000000 size=00000000/
    expect(functions.map(text => text.replace(window, '')).filter(text => odd.test(text))).toEqual([])
  })
})

describe('the devices of a guest', () => {
  it('work by interrupt lines that they share, and with registers that the guest has moved above 4 GiB', async () => {
    const script = `${FILES} ${NETWORK}
      echo "files: $(check)"
      rm -f /etc/resolv.conf; ip address flush dev eth0; echo "network: $(dhcp) $(address)"
      # Moved without the kernel's knowledge, the registers answer at the new address and no longer at the one before.
      slot=$(lspci -D -d 1af4:1044 | cut -d' ' -f1)
      echo $slot >/sys/bus/pci/drivers/virtio-pci/unbind
      move() { setpci -s $slot COMMAND=0:2 BASE_ADDRESS_1=$1 BASE_ADDRESS_0=$2; setpci -s $slot COMMAND=2:2; }
      answer() { [ $(devmem $1 32) = 0xFFFFFFFF ] && echo "nobody at $1" || echo "registers at $1"; }
      move 0 c8000000; echo "moved-low: $(answer 0xc8000000)"
      move 60 00100000; echo "moved-high: $(answer 0x6000100000), $(answer 0xc8000000)"
      # The kernel places a device that it finds anew in the window above 4 GiB.
      echo 1 >/sys/bus/pci/devices/$slot/remove; echo 1 >/sys/bus/pci/rescan
      echo "moved-by-kernel: $(head -n 1 /sys/bus/pci/devices/$slot/resource | cut -d' ' -f1)"
      echo "entropy: $(dd if=/dev/hwrng bs=1k count=4 2>/dev/null | wc -c)"
      grep virtio /proc/interrupts >&2`
    // Six devices in the slots 1 to 6: the first and the fifth, and the second and the sixth, share a line.
    const { result, told } = await boot(['-c', '2', '-p', 'pci=nomsi'], script)
    expect(result.status).toBe(0)
    expect(told).toMatchObject({ files: '4', network: 'leased 10.0.2.15', entropy: '4096' })
    expect(told).toMatchObject({
      'moved-low': 'registers at 0xc8000000',
      'moved-high': 'registers at 0x6000100000, nobody at 0xc8000000',
      'moved-by-kernel': '0x0000004000000000',
    })
    const lines = result.stderr.trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    expect(lines.filter(line => !/IO-APIC +[0-9]+-fasteoi +virtio[0-9]/.test(line))).toEqual([])
    expect(lines.filter(line => /virtio[0-9]+, virtio[0-9]+/.test(line))).toHaveLength(2)
  })

  it('work behind root ports, each on a bus of its own', async () => {
    const script = `${FILES} ${NETWORK} ${REBIND}
      echo "files: $(check)"
      rebind virtio3
      echo "network: $(dhcp) $(address)"
      echo "entropy: $(dd if=/dev/hwrng bs=1k count=4 2>/dev/null | wc -c)"
      echo "buses: $(lspci -d 1af4: | cut -d: -f1 | tr '\\n' ' ')"
      lspci -i /opt/tools/pci.ids -vv >&2 2>/dev/null`
    const { result, told } = await boot(['--root-ports', '-p', 'pci=realloc'], script)
    expect(result.status).toBe(0)
    expect(told).toMatchObject({ files: '4', network: 'leased 10.0.2.15', entropy: '4096' })
    expect(told['buses']?.trim()).toBe('01 02 03 04 05 06')
    expect(result.stderr).not.toMatch(/!!!|<chain (looped|broken)>|access denied/)
    expect(result.stderr.match(/Express \(v2\) Root Port \(Slot[+-]\)/g)).toHaveLength(6)
    expect(result.stderr.match(/Express \(v2\) Endpoint, MSI 00/g)).toHaveLength(6)
  })
})

/** A network card of the host in a Linux guest: its interrupts, its ROM, and traffic both ways. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fullKernel } from '../support/linux-full-kernel.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { VfioHost } from '../support/vfio-guest.ts'

/** Of the emulated host on the network of its cards, and of the first card there. */
const HOST_ADDRESS = '10.0.3.1'
const CARD_ADDRESS = '10.0.3.18'
/** What the emulated host itself reaches, and passes on. */
const OUTSIDE = '10.0.2.2'
const VENDOR_INTEL = 0x8086
const DEVICE_82574L = 0x10d3

/**
 * An expansion ROM with one image, PCI Firmware 3.3 §5.1.2. It is one for EFI, which the emulated host's BIOS does not
 * run, and the rest of it is a pattern.
 */
function romImage(): Buffer {
  const image = Buffer.alloc(4096, 'bulkhead')
  const header = 0x1c
  image.fill(0, 0, header + 0x18)
  image.writeUInt16LE(0xaa55, 0)
  image.writeUInt16LE(header, 0x18)
  image.write('PCIR', header)
  image.writeUInt16LE(VENDOR_INTEL, header + 4)
  image.writeUInt16LE(DEVICE_82574L, header + 6)
  image.writeUInt16LE(0x18, header + 0xa)
  image.writeUInt16LE(image.length / 512, header + 0x10)
  // Code type EFI, and the last image.
  image[header + 0x14] = 3
  image[header + 0x15] = 0x80
  return image
}

/**
 * For the guest and the host alike. serve: offers some data; sum: its checksum; fetch ADDRESS: that of what is there.
 * For guests: card: where it is; up: has an address for it.
 */
const COMMANDS = `
  serve() {
    head -c 300000 /dev/urandom >/tmp/data
    nc -ll -p 8000 -e cat /tmp/data &
    echo "sum: $(sum)"
  }
  sum() { sha256sum </tmp/data | cut -c 1-64; }
  fetch() { nc $1 8000 </dev/null | sha256sum | cut -c 1-64; }
  card() { basename $(dirname $(grep -l 0x10d3 /sys/bus/pci/devices/*/device)); }
  up() {
    ifconfig eth0 up; udhcpc -i eth0 -q -n -t 10 -T 1 -s /bulkhead/dhcp >/dev/null 2>&1
    ip -o -4 address show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'
  }
  # The card's lines, and for each how often it came: "3 all", "1 all" where all of them did.
  interrupts() {
    awk '/ eth0/ { lines++; if ($2 > 0) used++ } END { print lines + 0, (lines == used) ? "all" : "some" }' /proc/interrupts
  }
  kinds() { grep ' eth0' /proc/interrupts | grep -oE 'MSIX|MSI|IO-APIC' | sort -u | tr '\\n' ' '; }
  complaints() { dmesg | grep -E 'e1000e.*(fail|error|hang|timeout)|NETDEV WATCHDOG|BUG:|Oops|nobody cared| fault from ' | tr '\\n' ';'; }
`

describe.sequential('a network card that is passed to a Linux guest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bh-card-'))
  const rom = romImage()
  let host: VfioHost
  beforeAll(async () => {
    const path = join(folder, 'rom')
    writeFileSync(path, rom)
    const { kernel, initrd, params } = await fullKernel()
    host = await VfioHost.start({
      ...{ devices: [`e1000e=${path}`], files: [kernel, initrd], network: true },
      ...{ prelude: COMMANDS, guestPrelude: COMMANDS },
    })
    const options = '-m 256 --console serial --iommu all --iommu-check -p iommu.strict=1 --vfio 00:12.0,bind'
    await host.output(`
      export BULKHEAD_GUEST='{"kernel":"'$file1'","initrd":"'$file2'","params":"${params}"}'`)
    await host.startGuest('guest', options)
  }, SETUP_LIMIT_MS)
  afterAll(async () => {
    await host[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  it('takes data both ways, with three MSI-X vectors that all interrupt', async () => {
    const { sum } = await host.facts('serve')
    const told = await host.inGuest(
      'guest',
      `modprobe e1000e; echo "address: $(up)"; echo "got: $(fetch ${HOST_ADDRESS})"; serve
      ping -c 1 -W 5 ${OUTSIDE} >/dev/null; echo "outside: $?"`,
    )
    expect(told).toMatchObject({ address: CARD_ADDRESS, got: sum, outside: '0' })
    expect(await host.facts(`echo "got: $(fetch ${CARD_ADDRESS})"`)).toEqual({ got: told['sum'] })
    const interrupts = await host.inGuest(
      'guest',
      'echo "interrupts: $(interrupts)"; echo "kinds: $(kinds)"; echo "complaints: $(complaints)"',
    )
    expect(interrupts).toEqual({ interrupts: '3 all', kinds: 'MSIX ', complaints: '' })
  })

  it("goes from the guest's driver and comes back to it", async () => {
    const told = await host.inGuest(
      'guest',
      `card=$(card); echo $card >/sys/bus/pci/drivers/e1000e/unbind; [ -e /sys/class/net/eth0 ] || echo "eth0: gone"
      echo $card >/sys/bus/pci/drivers/e1000e/bind; echo "address: $(up)"; echo "got: $(fetch ${HOST_ADDRESS} | cut -c 1-8)"`,
    )
    const { sum = '' } = await host.facts('echo "sum: $(sum)"')
    expect(told).toEqual({ eth0: 'gone', address: CARD_ADDRESS, got: sum.slice(0, 8) })
  })

  it('works with an INTx line', async () => {
    const told = await host.inGuest(
      'guest',
      `rmmod e1000e; modprobe e1000e IntMode=0; echo "address: $(up)"; echo "got: $(fetch ${HOST_ADDRESS})"
      echo "interrupts: $(interrupts)"; echo "kinds: $(kinds)"; echo "complaints: $(complaints)"`,
    )
    const { sum } = await host.facts('echo "sum: $(sum)"')
    expect(told).toEqual({
      ...{ address: CARD_ADDRESS, got: sum },
      ...{ interrupts: '1 all', kinds: 'IO-APIC ', complaints: '' },
    })
  })

  it('shows its expansion ROM', async () => {
    const told = await host.inGuest(
      'guest',
      'rom=/sys/bus/pci/devices/$(card)/rom; echo 1 >$rom; echo "sum: $(sha256sum <$rom | cut -c 1-64)"; echo 0 >$rom',
    )
    expect(told).toEqual({ sum: createHash('sha256').update(rom).digest('hex') })
  })

  it('is given back when the guest ends, with nothing to say about it', async () => {
    expect(await host.facts('end guest; echo "driver: $(driver 00:12.0)"')).toEqual({
      ...{ status: '0', errors: '', driver: '' },
    })
  })
})

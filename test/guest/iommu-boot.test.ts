/** What devices behind the IOMMU may do before and without its driver, beyond its limits, and from kernel to kernel. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Log } from '../../src/base/log.ts'
import { prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { type CliResult, Place } from '../support/bulkhead.ts'
import { guestTools } from '../support/guest-tools.ts'
import { endpointOf, IommuGuest } from '../support/iommu-guest.ts'
import { BOOT_LIMIT_MS, factsOf, prepareGuest, SETUP_LIMIT_MS, startGuest } from '../support/linux-guest.ts'

const CLEAN = { status: 0, stderr: '', leftovers: [] }
/** Tries to read from the entropy device, which may never answer. */
const TRY_ENTROPY = '{ echo "entropy: $(timeout 2 dd if=/dev/hwrng bs=64 count=1 | wc -c)"; } 2>/dev/null'
const FAULTS = `
  tries=0; until dmesg | grep -q ' fault from ' || [ $tries = 300 ]; do usleep 100000; tries=$((tries + 1)); done
  echo "fault: $(dmesg | grep -o '[a-z]* fault from .*' | head -n 1)"
`

describe('a kernel that does not know of the IOMMU', () => {
  let guest: IommuGuest
  afterEach(() => guest[Symbol.asyncDispose]())

  it('has working devices while the IOMMU lets everything through, and the device tree as its only hint', async () => {
    guest = await IommuGuest.start(folder => [
      ...['--iommu', 'all,topology=dt', '--rng', '-n', 'user', '--iommu-check', '--dump-dtb', `${folder}/dtb`],
    ])
    const told = await guest.facts(`
      files; echo "files: $(check)"; echo "address: $(lease)"; echo "entropy: $(entropy)"
      echo "groups: $(ls /sys/kernel/iommu_groups | wc -l)"
      [ -e /sys/firmware/acpi/tables/VIOT ] || echo "viot: none"
      echo "dtb: $(cat /sys/kernel/boot_params/setup_data/*/data | sha256sum | cut -d ' ' -f 1)"`)
    expect(told).toEqual({
      ...{ files: '4', address: '10.0.2.15', entropy: '4096', groups: '0', viot: 'none' },
      dtb: createHash('sha256')
        .update(readFileSync(guest.path('dtb')))
        .digest('hex'),
    })
    const state = await guest.state()
    expect(state.counters).toMatchObject({ attaches: 0, maps: 0, faults: 0 })
    expect(endpointOf(state, 'disk0')).toMatchObject({ treatment: 'bypass' })
    expect(await guest.end()).toEqual(CLEAN)
  })

  it('has a device that reaches nothing while the IOMMU lets nothing through', async () => {
    guest = await IommuGuest.start(() => ['--iommu', 'rng0,topology=dt,bypass=off', '--rng', '--iommu-check'])
    const told = await guest.facts(`${TRY_ENTROPY}; files; echo "files: $(check)"`)
    expect(told).toEqual({ entropy: '0', files: '4' })
    const state = await guest.state()
    // Nobody takes the event of its one fault, the first access to its queue.
    expect(endpointOf(state, 'rng0')).toMatchObject({ treatment: 'block', faults: 1 })
    expect(state.device).toMatchObject({ faults: 1, drops: 1 })
    expect(await guest.end()).toEqual(CLEAN)
  })
})

describe('a kernel that expects more than there is', () => {
  let guest: IommuGuest
  afterEach(() => guest[Symbol.asyncDispose]())

  it('gets no interrupt by a doorbell that it does not map, where nobody reserves the doorbells', async () => {
    // Linux maps doorbells on arm64; on x86-64 it takes it that they need no mapping.
    guest = await IommuGuest.start(() => ['--iommu', 'rng0,msi=translate', '--rng', '--iommu-check'])
    const told = await guest.facts(`groups; ${TRY_ENTROPY}; ${FAULTS}`)
    const fault = expect.stringMatching(/^page fault from EP 32 at 0xfee[0-9a-f]+ \[W\]$/)
    expect(told).toEqual({ 'group-00.04.0': 'DMA-FQ 1 8000000 80fffff msi ', entropy: '0', fault })
    expect(await guest.end()).toEqual(CLEAN)
  })

  it('goes on when there are no more mappings, and the failures can be seen', async () => {
    const words = ['-p', 'iommu.strict=1', '--iommu', 'disk0+disk1,limit=64', '--rng', '--iommu-check']
    guest = await IommuGuest.start(() => words)
    // One request of 1 MiB in scattered pages needs more mappings than there may be. Linux does not look at the answers.
    const told = await guest.facts(`
      dd if=/dev/vda of=/dev/null bs=4M count=1 iflag=direct 2>/dev/null &
      ${FAULTS} echo "entropy: $(entropy)"`)
    const fault = expect.stringMatching(/^page fault from EP 16 at 0x[0-9a-f]+ \[[RW]\]$/)
    expect(told).toEqual({ fault, entropy: '4096' })
    const { counters, device } = await guest.state()
    expect(counters.mappings).toBeLessThanOrEqual(64)
    expect(counters.faults).toBeGreaterThan(0)
    expect(device['failures']).toBeGreaterThan(0)
  })
})

describe('a kernel that starts where another one has left live mappings', () => {
  const PROMPT = '~ # '
  const SCRIPT = `
    told() {
      echo "$1-terminal: $(tty)"
      echo "$1-groups: $(cat /sys/kernel/iommu_groups/*/type | sort | uniq -c | xargs)"
      echo "$1-disk: $(sha256sum </dev/vda | cut -d ' ' -f 1)"
      echo "$1-entropy: $(dd if=/dev/hwrng bs=1k count=4 2>/dev/null | wc -c)"
      ifconfig eth0 up; udhcpc -i eth0 -q -n -t 10 -T 1 -s /bulkhead/dhcp >/dev/null 2>&1
      echo "$1-address: $(ip -o -4 address show eth0 | awk '{ print $4 }')"
      echo "$1-complaints: $(dmesg | grep -E 'BUG:|Oops|WARNING.* at drivers|stall|hung|I/O error' | tr '\\n' ';')"
    }
    busy() {
      (while :; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct; done) 2>/dev/null &
      (while :; do dd if=/dev/hwrng of=/dev/null bs=64; done) 2>/dev/null &
      usleep 300000
    }
    told $1
    case $1 in
    first)
      mkdir -p /opt/tools && mount -t ext4 -o ro /dev/vde /opt/tools
      head -c $2 /dev/vdc >/tmp/kernel; head -c $3 /dev/vdd >/tmp/initrd
      /opt/tools/kexec -s -l /tmp/kernel --initrd=/tmp/initrd --append="$(cat /proc/cmdline)"
      busy; echo "$1 is done"; /opt/tools/kexec -e ;;
    second) busy; echo "$1 is done"; reboot -f ;;
    third) echo "$1 is done"; poweroff -f ;;
    esac
  `
  const place = new Place({ ownCache: false })
  const data = Buffer.alloc(16 * 2 ** 20, 'bulkhead')
  let result: CliResult
  beforeAll(async () => {
    await prepareGuest()
    const { bzImage, initrd } = await prepareDefaultGuest({ log: new Log('error') })
    const images = [bzImage, initrd].map(path => readFileSync(path))
    const disks = [data, Buffer.from(SCRIPT), ...images].map((content, index) => {
      const path = `${place.root}/disk${index}`
      writeFileSync(path, Buffer.concat([content, Buffer.alloc(-content.length & 511, '\n')]))
      return `${path},ro`
    })
    const words = [...disks, `${await guestTools()},ro`].flatMap(disk => ['-d', disk])
    const options = ['-m', '768', '--reboot', '--rng', '-n', 'user', '-p', 'iommu.strict=1']
    const iommu = ['--iommu', 'all', '--iommu-check']
    const run = startGuest(place, [...options, ...iommu, ...words], { stdin: null, timeoutMs: 4 * BOOT_LIMIT_MS })
    await run.saw(PROMPT)
    run.type(`sh /dev/vdb first ${images.map(image => image.length).join(' ')}\n`)
    await run.saw('first is done')
    await run.saw(PROMPT, 2)
    run.type('sh /dev/vdb second\n')
    await run.saw('second is done')
    await run.saw(PROMPT, 3)
    run.type('sh /dev/vdb third\n')
    result = await run.result
  }, SETUP_LIMIT_MS)
  afterEach(() => place[Symbol.dispose]())

  it('works after kexec and after a reset, with the driver at fault in nothing', () => {
    const disk = createHash('sha256').update(data).digest('hex')
    const working = (name: string) => ({
      ...{
        [`${name}-terminal`]: '/dev/hvc0',
        [`${name}-groups`]: '8 DMA',
        [`${name}-disk`]: disk,
        [`${name}-entropy`]: '4096',
      },
      ...{ [`${name}-address`]: '10.0.2.15/24', [`${name}-complaints`]: '' },
    })
    const told = factsOf(result.stdout)
    expect(told).toMatchObject({ ...working('first'), ...working('second'), ...working('third') })
    expect({ status: result.status, stderr: result.stderr }).toEqual({ status: 0, stderr: '' })
  })
})

/** Linux in strict mode: its drivers come and go, its devices stray, its IOMMU is taken away and given back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endpointOf, IommuGuest, STRAY_DMA } from '../support/iommu-guest.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'

/** Guest-physical address of the kernel's code. */
const KERNEL_CODE = 0x100_0000

let guest: IommuGuest
beforeAll(async () => {
  // The console stays outside, so that every endpoint can be taken away.
  const words = [
    '-c',
    '2',
    '-p',
    'iommu.strict=1',
    '--iommu',
    'disk0+disk1+net0+rng0',
    '--iommu-check',
    '-n',
    'user',
    '--rng',
  ]
  guest = await IommuGuest.start(() => words, STRAY_DMA)
}, SETUP_LIMIT_MS)
afterAll(() => guest[Symbol.asyncDispose]())

/** In order: each finds the guest as the one before left it, and the last one ends it. */
describe.sequential('a Linux guest in strict mode', () => {
  it('has a group for each device behind the IOMMU, and none for the others', async () => {
    expect(await guest.facts('groups')).toEqual({
      'group-00.02.0': 'DMA 1 fee00000 feefffff msi ',
      'group-00.03.0': 'DMA 1 fee00000 feefffff msi ',
      'group-00.04.0': 'DMA 1 fee00000 feefffff msi ',
      'group-00.05.0': 'DMA 1 fee00000 feefffff msi ',
    })
  })

  it('maps and unmaps for each request, and the counters agree with what is left', async () => {
    const before = await guest.state()
    const told = await guest.facts(
      'files; echo "files: $(check)"; echo "address: $(lease)"; echo "entropy: $(entropy)"',
    )
    const after = await guest.state()
    expect(told).toMatchObject({ files: '4', address: '10.0.2.15', entropy: '4096' })
    expect(after.counters.maps).toBeGreaterThan(before.counters.maps + 100)
    expect(after.counters.unmaps).toBeGreaterThan(before.counters.unmaps + 100)
    const { maps, removed, mappings } = after.counters
    expect(maps - removed).toBe(mappings)
    expect(after.domains.reduce((sum, domain) => sum + domain.mappings, 0)).toBe(mappings)
    expect(after.counters.faults).toBe(0)
  })

  it('has no mapping of a disk left when its driver goes in the midst of I/O, and works with it again', async () => {
    const told = await guest.facts(`
      (while [ -b /dev/vda ]; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct; done) 2>/dev/null &
      (while [ -b /dev/vda ]; do dd if=/dev/vda of=/dev/null bs=1M; done) 2>/dev/null &
      usleep 300000
      unbind 00:02.0; echo "unbound: $?"; wait
      [ -e /dev/vda ] || echo "disk: gone"`)
    expect(told).toEqual({ unbound: '0', disk: 'gone' })
    expect(endpointOf(await guest.state(), 'disk0')).toMatchObject({ treatment: 'translate', mappings: 0 })
    expect(await guest.facts('bind 00:02.0; echo "files: $(check)"')).toEqual({ files: '4' })
    expect(endpointOf(await guest.state(), 'disk0').mappings).toBeGreaterThan(0)
  })

  it('has no mapping of the network left when its driver goes, and works with it again', async () => {
    expect(await guest.facts('unbind 00:04.0; echo "unbound: $?"')).toEqual({ unbound: '0' })
    expect(endpointOf(await guest.state(), 'net0')).toMatchObject({ treatment: 'translate', mappings: 0 })
    expect(await guest.facts('bind 00:04.0; echo "address: $(lease)"')).toEqual({ address: '10.0.2.15' })
    expect(await guest.facts('echo "complaints: $(complaints)"')).toEqual({ complaints: '' })
  })

  it.each([
    ['disk0', 'mapping', 'read', '0xdead000', 'page fault from EP 16 at 0xdead000 [R]'],
    ['net0', 'domain', 'write', '0x1234567890', 'domain fault from EP 32 at 0x1234567890 [W]'],
    ['rng0', 'unknown', 'write', '0x0', 'unknown fault from EP 40 at 0x0 [W]'],
  ])('hears of a fault of %s (%s) that is injected', async (endpoint, reason, access, address, line) => {
    await guest.told('fault', '--endpoint', endpoint, '--reason', reason, '--access', access, '--address', address)
    const told = await guest.facts(`
      tries=0; until dmesg | grep -q ' fault from ' || [ $tries = 300 ]; do usleep 100000; tries=$((tries + 1)); done
      echo "fault: $(dmesg -c | grep -o '[a-z]* fault from .*')"`)
    expect(told).toEqual({ fault: line })
  })

  it('sees the DMA of a broken driver stopped, by one fault that names device and address', async () => {
    const before = (await guest.state()).counters.faults
    const told = await guest.facts(`
      unbind 00:05.0
      stray 00:05.0 ${KERNEL_CODE}
      echo "fault: $(dmesg -c | grep -o '[a-z]* fault from .*')"`)
    const address = `0x${KERNEL_CODE.toString(16)}`
    // DEVICE_NEEDS_RESET beside what the driver wrote.
    expect(told).toEqual({ status: '0x4F', fault: `page fault from EP 40 at ${address} [R]` })
    const state = await guest.state()
    expect(state.counters.faults).toBe(before + 1)
    expect(await guest.facts('bind 00:05.0; echo "entropy: $(entropy)"')).toEqual({ entropy: '4096' })
  })

  it('can lose the IOMMU with all its endpoints and find it again', async () => {
    const told = await guest.facts(`
      umount /opt/tools
      for slot in 02 03 04 05; do echo 1 >/sys/bus/pci/devices/0000:00:$slot.0/remove; done
      rmmod virtio_iommu; echo "removed: $?"`)
    expect(told).toEqual({ removed: '0' })
    expect((await guest.state()).domains).toEqual([])
    // Without a driver for the IOMMU that the firmware's table names, Linux gives the endpoints no drivers.
    const waiting = await guest.facts(
      'echo 1 >/sys/bus/pci/rescan; usleep 500000; [ -e /dev/vda ] || echo "disk: waits"',
    )
    expect(waiting).toEqual({ disk: 'waits' })
    const again = await guest.facts(`
      modprobe virtio_iommu; echo "loaded: $?"
      tries=0; until [ "$(ls /sys/kernel/iommu_groups | wc -l)" = 4 ] && [ -e /dev/vda ] && [ -e /sys/class/net/eth0 ] || [ $tries = 300 ]
      do usleep 100000; tries=$((tries + 1)); done
      groups; echo "files: $(check)"; echo "address: $(lease)"; echo "entropy: $(entropy)"`)
    expect(again).toMatchObject({ loaded: '0', files: '4', address: '10.0.2.15', entropy: '4096' })
    expect(Object.keys(again).filter(name => name.startsWith('group'))).toHaveLength(4)
  })

  it('ends with no finding against the driver, and leaves nothing', async () => {
    expect(await guest.facts('echo "complaints: $(complaints)"')).toEqual({ complaints: '' })
    expect(await guest.end()).toEqual({ status: 0, stderr: '', leftovers: [] })
  })
})

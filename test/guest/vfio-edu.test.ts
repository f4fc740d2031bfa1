/**
 * An edu device behind the IOMMU of a Linux guest, driven by a program there through VFIO: what it may reach it reaches,
 * and of what it may not no byte changes. Stray transfers are started from outside while the guest is paused, so that all
 * of its memory can be compared.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { missingVfioEdu, startEduHost } from '../support/vfio-edu.ts'
import type { VfioHost } from '../support/vfio-guest.ts'

const OPTIONS = '-m 160 --iommu vfio0,bypass=off --vfio 00:10.0,bind --disk $file1,ro'
/** Of the host's memory: must stay as it is. */
const CANARY_BYTES = 100 * 2 ** 20
const COUNT = 2048
/** edu's command register, and what starts a transfer to memory. */
const COMMAND_OFFSET = 0x98
const START_IN = 3
/** It begins 100 ms after that. */
const TRANSFER_US = 300_000

/** Started while the guest is paused. By what they are to reach, with commands before and the address. */
const STRAYS = [
  { what: 'an address past its mappings', before: '', address: () => '0x210000' },
  { what: 'a physical address of the guest', before: '', address: places => places['own'] },
  { what: 'a physical address of the host', before: '', address: places => places['host'] },
  { what: 'an unmapped address', before: 'unmap a 0x200000 0x10000', address: () => '0x200000' },
  { what: 'an address mapped for reading', before: 'map a n 0x200000 0 0x10000 r', address: () => '0x200000' },
] satisfies {
  readonly what: string
  readonly before: string
  readonly address: (places: Readonly<Record<string, string>>) => string | undefined
}[]

describeUnless(missingVfioEdu(), 'an edu device behind the IOMMU of a guest', () => {
  let host: VfioHost
  /** Addresses: of the device's registers, of a page of the guest's own, and of the host's memory. */
  let places: Readonly<Record<string, string>>
  const inGuest = (commands: string) => host.inGuest('guest', `edu "${commands}"`)
  const onHost = (commands: string) => host.facts(`edu "${commands}"`)

  beforeAll(async () => {
    host = await startEduHost(1)
    // The hypervisor tells the guest of faults that it hears of, in the guest's memory: not where every byte counts.
    await host.output('mv /dev/kmsg /dev/kmsg.away')
    await host.startGuest('guest', OPTIONS)
    await host.output('mv /dev/kmsg.away /dev/kmsg')
  }, SETUP_LIMIT_MS)
  afterAll(() => host?.[Symbol.asyncDispose]())

  describe.sequential('which a program drives', () => {
    it('has no memory pinned but what is mapped', async () => {
      expect(await host.facts('echo "locked: $(locked guest)"')).toEqual({ locked: '0' })
      const mapped = await inGuest(`
        container a
        memory m 0x10000
        memory n 0x10000
        device: device x $(edus) a
        map a m 0x100000
        map a n 0x200000`)
      expect(mapped).toEqual({ device: 'ok' })
      expect(await host.facts('echo "locked: $(locked guest)"')).toEqual({ locked: '128' })
    })

    it('computes, and interrupts by MSI', async () => {
      const facts = await inGuest(`
        factorial: factorial x 6
        irq: irq x msi
        raise x 5
        raised: await x 5000
        more: await x 100`)
      expect(facts).toEqual({ factorial: '720', irq: 'ok', raised: '0x5', more: 'none' })
    })

    it('moves data out and in, and interrupts when it is done', async () => {
      const facts = await inGuest(`
        pattern m 1
        out: dma x out 0x100000 ${COUNT} irq
        outDone: await x 5000
        in: dma x in 0x200000 ${COUNT} irq
        inDone: await x 5000
        wrong: check n 1 0 ${COUNT}
        changedBehind: check n 0 ${COUNT}
        changedSource: check m 1`)
      const done = { out: 'ok', outDone: '0x100', in: 'ok', inDone: '0x100' }
      expect(facts).toEqual({ ...done, wrong: '0', changedBehind: '0', changedSource: '0' })
    })

    it('is ready to go astray, beside memory of the host and a copy of all memory of the guest', async () => {
      const own = await inGuest('pattern n 0\n own: physical n')
      const bar = await host.inGuest('guest', 'read bar rest </sys/bus/pci/devices/$(edus)/resource; echo "bar: $bar"')
      const kept = await onHost(`
        memory canary ${CANARY_BYTES}
        pattern canary 7
        host: physical canary
        ram: keep ram $(ram guest)`)
      expect(kept).toMatchObject({ host: expect.stringMatching(/^0x/), ram: 'ok' })
      places = { ...own, ...bar, ...kept }
    })

    /** Has it write, started from outside, with the guest paused; `start` is told the command. Tells what became of it. */
    const stray = async (before: string, address: string | undefined, start: (command: string) => string) => {
      await inGuest(`${before}\n prepare x in ${address} ${COUNT}`)
      return await host.facts(`
        bulkhead pause guest
        edu 'again ram'
        ${start(`bulkhead debug guest --mmio $((${places['bar']} + ${COMMAND_OFFSET})),4=${START_IN}`)}
        usleep ${TRANSFER_US}
        edu 'guest: changes ram
        host: check canary 7'
        bulkhead resume guest`)
    }

    it.each(STRAYS)('changes no byte anywhere when it writes to $what', async ({ before, address }) => {
      const to = address(places)
      const facts = await stray(before, to, start => `refused 00:10.0 ${to} '${start}'`)
      expect(facts).toEqual({ refused: 'yes', guest: '0', host: '0' })
    })

    it('changes the bytes that it writes to a mapped address, and no others', async () => {
      const facts = await stray('unmap a 0x200000 0x10000\n map a n 0x200000', '0x200000', start => start)
      const first = Number(places['own'])
      const last = first + COUNT - 1
      const guest = `${COUNT} 0x${first.toString(16)} 0x${last.toString(16)}`
      expect(facts).toEqual({ guest, host: '0' })
    })

    it('does as it should after all that', async () => {
      const facts = await inGuest(`
        wrong: check n 1 0 ${COUNT}
        out: dma x out 0x100000 ${COUNT} irq
        outDone: await x 5000`)
      expect(facts).toEqual({ wrong: '0', out: 'ok', outDone: '0x100' })
    })

    it('can be used by another program when the hypervisor is killed in the middle of a transfer', async () => {
      await inGuest(`prepare x in 0x200000 ${COUNT}\n start x in`)
      await host.output('crash guest')
      const facts = await host.facts(`
        edu 'memory m 0x10000
        container a
        device: device x 0000:00:10.0 a
        map a m 0x300000
        irq: irq x msi
        out: dma x out 0x300000 ${COUNT} irq
        done: await x 5000
        changed: check m 0
        canary: check canary 7
        close x'
        bulkhead vfio unbind 00:10.0 >/dev/null
        echo "driver: $(driver 00:10.0)"`)
      expect(facts).toEqual({
        device: 'ok',
        irq: 'ok',
        out: 'ok',
        done: '0x100',
        changed: '0',
        canary: '0',
        driver: '',
      })
    })
  })
})

/** Two devices of one host group, which the host's IOMMU cannot tell apart: functions of one device in the guest. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { IommuViewState } from '../../src/machine/iommu-view.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { missingVfioEdu, startEduHost } from '../support/vfio-edu.ts'
import type { VfioHost } from '../support/vfio-guest.ts'

const OPTIONS = '-m 160 --disk $file1,ro --vfio 00:10.0,bind --vfio 00:10.1,bind'
const COUNT = 1024

describeUnless(missingVfioEdu(), 'devices of one host group', () => {
  let host: VfioHost
  const inGuest = (commands: string) => host.inGuest('guest', `set -- $(edus); edu "${commands}"`)
  const treatments = async () =>
    (JSON.parse(await host.output('state guest')) as IommuViewState).endpoints.map(({ treatment }) => treatment)

  beforeAll(async () => {
    host = await startEduHost(['edu+edu'])
    await host.startGuest('guest', `${OPTIONS} --iommu vfio0+vfio1,bypass=off --iommu-check`)
  }, SETUP_LIMIT_MS)
  afterAll(() => host?.[Symbol.asyncDispose]())

  describe.sequential('in a guest', () => {
    it('are functions of one device, and in one group of the guest', async () => {
      const facts = await host.inGuest(
        'guest',
        `set -- $(edus)
        echo "devices: $*"
        echo "mates: $(ls /sys/bus/pci/devices/$1/iommu_group/devices | tr '\\n' ' ')"`,
      )
      const [first, second] = facts['devices']?.split(' ') ?? []
      expect(second).toBe(first?.replace(/0$/, '1'))
      expect(facts['mates']?.trim()).toBe(facts['devices'])
    })

    it('reach what their domain maps, both, and nothing else', async () => {
      const facts = await inGuest(`
        container a
        memory m 0x10000
        memory n 0x10000
        pattern m 1
        first: device x $1 a
        second: mate y $2 x
        map a m 0x100000
        map a n 0x200000
        firstOut: dma x out 0x100000 ${COUNT}
        firstIn: dma x in 0x200000 ${COUNT}
        secondOut: dma y out 0x100400 ${COUNT}
        secondIn: dma y in 0x200400 ${COUNT}
        wrong: check n 1 0 ${2 * COUNT}
        astray: dma y in 0x300000 ${COUNT}
        beside: check n 0 ${2 * COUNT}`)
      const moved = { first: 'ok', second: 'ok', firstOut: 'ok', firstIn: 'ok', secondOut: 'ok', secondIn: 'ok' }
      expect(facts).toEqual({ ...moved, wrong: '0', astray: 'ok', beside: '0' })
      expect(await treatments()).toEqual(['translate', 'translate'])
    })

    it('end with their guest, which did nothing that the specification forbids', async () => {
      await host.inGuest('guest', 'edu_end')
      expect(await host.facts('end guest')).toEqual({ status: '0', errors: '' })
    })
  })
})

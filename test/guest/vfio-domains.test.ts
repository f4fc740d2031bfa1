/**
 * Two edu devices of one Linux guest, and the domains that they are attached to. A container of the program that drives
 * them is a domain of the guest's IOMMU; each device's group has a container on the host, which follows.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { IommuViewState } from '../../src/machine/iommu-view.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { missingVfioEdu, startEduHost } from '../support/vfio-edu.ts'
import type { VfioHost } from '../support/vfio-guest.ts'

const OPTIONS = '-m 160 --disk $file1,ro --vfio 00:10.0,bind --vfio 00:13.0,bind'
const COUNT = 1024
/** A container whose last group leaves it loses its mappings. */
const MAP_B = `
        map b p 0x100000
        map b q 0x200000`

/** What the host's containers did, as the IOMMU's state tells. */
function backendsOf({ endpoints }: IommuViewState) {
  return endpoints.map(({ domain, backend }) => {
    if (backend === undefined) throw new Error('an endpoint without a back end')
    return { domain, ...backend }
  })
}

describeUnless(missingVfioEdu(), 'edu devices in domains', () => {
  let host: VfioHost
  const inGuest = (commands: string) => host.inGuest('guest', `set -- $(edus); edu "${commands}"`)
  const stateOf = async () => JSON.parse(await host.output('state guest')) as IommuViewState

  beforeAll(async () => {
    host = await startEduHost(2)
    await host.startGuest('guest', `${OPTIONS} --iommu vfio0+vfio1,bypass=off --iommu-trace /tmp/trace --iommu-check`)
  }, SETUP_LIMIT_MS)
  afterAll(() => host?.[Symbol.asyncDispose]())

  describe.sequential('of one guest', () => {
    it('reach the same memory in one domain, with one call to the host for each and mapping', async () => {
      const opened = await inGuest(`
        container a
        memory m 0x10000
        memory n 0x10000
        pattern m 1
        first: device x $1 a
        second: device y $2 a`)
      expect(opened).toEqual({ first: 'ok', second: 'ok' })
      const before = backendsOf(await stateOf())
      const facts = await inGuest(`
        map a m 0x100000
        map a n 0x200000
        firstOut: dma x out 0x100000 ${COUNT}
        firstIn: dma x in 0x200000 ${COUNT}
        secondOut: dma y out 0x100400 ${COUNT}
        secondIn: dma y in 0x200400 ${COUNT}
        wrong: check n 1 0 ${2 * COUNT}
        beside: check n 0 ${2 * COUNT}`)
      const moved = { firstOut: 'ok', firstIn: 'ok', secondOut: 'ok', secondIn: 'ok' }
      expect(facts).toEqual({ ...moved, wrong: '0', beside: '0' })
      const state = await stateOf()
      const after = backendsOf(state)
      const domain = state.domains.find(({ endpoints }) => endpoints.length === 2)
      const expected = { domain: domain?.id, treatment: 'translate', mappings: domain?.mappings }
      expect(after).toMatchObject([expected, expected])
      const maps = after.map(({ mapCalls }, index) => mapCalls - before[index]!.mapCalls)
      const mappings = after.map(backend => backend.mappings - before[0]!.mappings)
      expect(maps).toEqual(mappings)
    })

    it('interrupt by INTx, again and again', async () => {
      const facts = await inGuest(`
        irq: irq y intx
        raise y 3
        raised: await y 5000
        raise y 4
        raisedAgain: await y 5000
        more: await y 100`)
      expect(facts).toEqual({ irq: 'ok', raised: '0x3', raisedAgain: '0x4', more: 'none' })
    })

    it('reach each its own in two domains, by the same addresses', async () => {
      const facts = await inGuest(`
        container b
        memory p 0x10000
        memory q 0x10000
        pattern p 2
        pattern n 0
        close y
        second: device y $2 b
        map b p 0x100000
        map b q 0x200000
        firstOut: dma x out 0x100000 ${COUNT}
        secondOut: dma y out 0x100000 ${COUNT}
        firstIn: dma x in 0x200000 ${COUNT}
        secondIn: dma y in 0x200000 ${COUNT}
        firstWrong: check n 1 0 ${COUNT}
        secondWrong: check q 2 0 ${COUNT}`)
      const moved = { second: 'ok', firstOut: 'ok', firstIn: 'ok', secondOut: 'ok', secondIn: 'ok' }
      expect(facts).toEqual({ ...moved, firstWrong: '0', secondWrong: '0' })
      const { domains } = await stateOf()
      expect(domains.map(({ endpoints }) => endpoints.length)).toEqual([1, 1])
    })

    it('reach nothing of the other domain, and the guest hears of what the host refused', async () => {
      const facts = await inGuest(`
        map a m 0x300000
        pattern n 0
        astray: dma y in 0x300000 ${COUNT}
        changed: check m 1
        alsoChanged: check q 2 0 ${COUNT}`)
      expect(facts).toEqual({ astray: 'ok', changed: '0', alsoChanged: '0' })
      const { endpoints } = await stateOf()
      expect(endpoints.map(({ name, faults }) => ({ name, faults }))).toEqual([
        { name: 'vfio0', faults: 0 },
        { name: 'vfio1', faults: 1 },
      ])
      const guest = await host.inGuest('guest', 'echo "faults: $(dmesg | grep -c "fault from EP.*0x300000")"')
      expect(guest).toEqual({ faults: '1' })
      const trace = await host.output(`grep '"type":"fault"' /tmp/trace`)
      expect(JSON.parse(trace)).toMatchObject({ name: 'vfio1', source: 'host', access: 'write', address: '0x300000' })
    })

    it('are moved while the other works and mappings come and go', async () => {
      const round = (container: string, into: string, more: string) => `
        prepare y in 0x500000 ${COUNT}
        start y in
        close y
        device y $2 ${container}${more}
        wait y
        dma y out 0x101000 ${COUNT}
        dma y in ${into} ${COUNT}`
      const rounds = Array.from(
        { length: 3 },
        () => `${round('a', '0x201000', '')}${round('b', '0x201000', MAP_B)}`,
      ).join('')
      const facts = await inGuest(`
        memory r 0x10000
        pattern n 0
        pattern q 0
        map a r 0x400000
        repeat churn unmap a 0x400000 0x10000; map a r 0x400000
        repeat traffic dma x out 0x100000 ${COUNT}; dma x in 0x200000 ${COUNT}
        ${rounds}
        traffic: end traffic
        churn: end churn`)
      const rounded = expect.stringMatching(/^[1-9][0-9]*$/)
      expect(facts).toEqual({ traffic: rounded, churn: rounded })
      const data = await inGuest(`
        inA: check n 1 0 ${COUNT}
        alsoInA: check n 1 0x1000 ${COUNT}
        inB: check q 2 0x1000 ${COUNT}
        changed: check r 0`)
      expect(data).toEqual({ inA: '0', alsoInA: '0', inB: '0', changed: '0' })
      const state = await stateOf()
      const backends = backendsOf(state)
      const expected = state.domains.map(({ id, mappings }) => ({ domain: id, mappings, treatment: 'translate' }))
      expect(backends.toSorted((a, b) => (a.domain ?? 0) - (b.domain ?? 0))).toMatchObject(expected)
    })

    it('are left with nothing mapped when the program ends', async () => {
      await host.guestOutput('guest', 'edu_end')
      const { domains } = await stateOf()
      expect(domains.map(({ endpoints, mappings }) => [endpoints.length, mappings])).toEqual([
        [1, 0],
        [1, 0],
      ])
      expect(backendsOf(await stateOf()).map(({ mappings, pinnedBytes }) => [mappings, pinnedBytes])).toEqual([
        [0, 0],
        [0, 0],
      ])
      expect(await host.facts('end guest')).toEqual({ status: '0', errors: '' })
    })
  })
})

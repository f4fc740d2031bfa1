/**
 * Two Linux guests on one host, each with an edu device: neither device reaches the other guest's memory, and a guest that
 * uses up what the host gives it leaves the other what it has.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IommuViewState } from '../../src/machine/iommu-view.ts'
import { SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { describeUnless } from '../support/skip.ts'
import { missingVfioEdu, startEduHost } from '../support/vfio-edu.ts'
import type { VfioHost } from '../support/vfio-guest.ts'

const OPTIONS = '-m 160 --iommu vfio0,bypass=off --disk $file1,ro'
const COUNT = 2048
/** Mappings that the host takes of each. */
const LIMIT = 64
/** For more of them. */
const ADDRESSES = Array.from({ length: LIMIT }, (_, index) => `0x${(0x1000000 + index * 0x10000).toString(16)}`)

/** Both map memory at 0x100000; each also at an address of its own. */
const GUESTS = [
  { name: 'one', device: '00:10.0', seed: 1, own: '0x200000', other: 'two' },
  { name: 'two', device: '00:13.0', seed: 2, own: '0x300000', other: 'one' },
] as const

describeUnless(missingVfioEdu(), 'two guests with an edu device each', () => {
  let host: VfioHost
  /** Of each guest's memory: an address in it as the guest has it, and one as the host has it. */
  const places: Record<string, Readonly<Record<string, string>>> = {}
  const inGuest = (name: string, commands: string) => host.inGuest(name, `edu "${commands}"`)
  const stateOf = async (name: string) => {
    const { device, endpoints } = JSON.parse(await host.output(`state ${name}`)) as IommuViewState
    const { faults = 0, backend } = endpoints[0] ?? {}
    return { faults, failures: device['failures'], mappings: backend?.mappings ?? 0, limit: backend?.limit }
  }

  /** Boots it, and has its device and memory ready. */
  const prepare = async ({ name, device, seed, own }: (typeof GUESTS)[number]) => {
    await host.startGuest(name, `${OPTIONS} --vfio ${device},bind`)
    const opened = await host.inGuest(
      name,
      `edu "
        container a
        memory m 0x10000
        memory n 0x10000
        pattern m ${seed}
        device: device x $(edus) a
        map a m 0x100000
        map a n ${own}
        guest: physical n"`,
    )
    const kept = await host.facts(`edu "
      kept: keep ${name} $(ram ${name})
      share ${name}-ram $(ram ${name})
      host: physical ${name}-ram"`)
    expect({ ...opened, ...kept }).toMatchObject({ device: 'ok', kept: 'ok' })
    places[name] = { ...opened, ...kept, mapped: own }
  }

  beforeAll(async () => {
    host = await startEduHost(2)
    await host.output(`echo ${LIMIT} >/sys/module/vfio_iommu_type1/parameters/dma_entry_limit`)
    await prepare(GUESTS[0])
    await prepare(GUESTS[1])
  }, SETUP_LIMIT_MS)
  afterAll(() => host?.[Symbol.asyncDispose]())

  it.each(GUESTS)('have the device of guest $name reach its own memory, by an address that both use', async guest => {
    const { name, seed, own } = guest
    const facts = await inGuest(
      name,
      `out: dma x out 0x100000 ${COUNT}
      in: dma x in ${own} ${COUNT}
      wrong: check n ${seed} 0 ${COUNT}
      beside: check n 0 ${COUNT}`,
    )
    expect(facts).toEqual({ out: 'ok', in: 'ok', wrong: '0', beside: '0' })
    expect(await stateOf(name)).toMatchObject({ faults: 0, failures: 0 })
  })

  it.each(GUESTS)('have the device of guest $name reach nothing of guest $other', async ({ name, device, other }) => {
    const { guest, host: physical, mapped } = places[other]!
    await host.output(`bulkhead pause ${other}; edu 'again ${other}'`)
    const before = await stateOf(other)
    const refused = await host.output(`
      for address in ${mapped} ${guest} ${physical}; do
        transfer=$(echo "edu 'dma x in $address ${COUNT}'" | base64 | tr -d '\\n')
        refused ${device} $address "inside ${name} $transfer"
      done`)
    expect(refused).toBe('refused: yes\n'.repeat(3))
    expect(await host.facts(`edu 'changes: changes ${other}'; bulkhead resume ${other}`)).toEqual({ changes: '0' })
    // Each hears of what its own device did.
    expect((await stateOf(name)).faults).toBeGreaterThanOrEqual(3)
    expect(await stateOf(other)).toEqual(before)
  })

  it('have each its own limit of mappings, and go on below it', async () => {
    const { mappings, limit } = await stateOf('one')
    expect(limit).toBe(LIMIT)
    const last = ADDRESSES.at(-1)
    // Linux does not look at the status of a MAP: the program hears of none that failed.
    const full = await inGuest(
      'one',
      `memory k 0x1000
      ${ADDRESSES.map(address => `map a k ${address}`).join('\n')}
      full: dma x in ${last} ${COUNT}
      written: check k 0`,
    )
    expect(full).toEqual({ full: 'ok', written: '0' })
    // As many fail as there were mappings before.
    expect(await stateOf('one')).toMatchObject({ mappings: LIMIT, failures: mappings })
    expect(await host.output('bulkhead iommu stat one')).toContain(`has ${LIMIT} of the ${LIMIT} mappings`)
    expect(await host.output('cat /tmp/one.err')).toContain('dma_entry_limit')
    const below = await inGuest(
      'one',
      `unmap a ${last} 0x1000
      unmap a ${ADDRESSES[0]} 0x1000
      map a k ${last}
      dma x in ${last} ${COUNT}
      wrong: check k 1 0 ${COUNT}`,
    )
    expect(below).toEqual({ wrong: '0' })
    const other = await inGuest(
      'two',
      `memory k 0x1000
      map a k ${last}
      dma x in ${last} ${COUNT}
      wrong: check k 2 0 ${COUNT}`,
    )
    expect(other).toEqual({ wrong: '0' })
    expect(await stateOf('two')).toMatchObject({ failures: 0 })
  })
})

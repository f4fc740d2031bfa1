import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import type { IommuConfig } from '../../../src/machine/iommu-config.ts'
import { type HostLimits, lockedAtStart, withHosts } from '../../../src/machine/iommu-hosts.ts'
import { planIommu } from '../../../src/machine/iommu-plan.ts'
import type { ContainerInfo, IovaRange } from '../../../src/vfio/plan.ts'

const DEVICES = [
  { kind: 'vfio', address: '0000:00:10.0' },
  { kind: 'vfio', address: '0000:00:11.0' },
  { kind: 'rng' },
] as const
const MSI = { kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }
const FIRST = 0x08
const SECOND = 0x10
/** Intel's with 39 bits. */
const USABLE: readonly IovaRange[] = [
  { start: 0, end: 0xfedf_ffff },
  { start: 0xfef0_0000, end: 0x7f_ffff_ffff },
]

const info = (change: Partial<ContainerInfo> = {}): ContainerInfo => ({
  pageSizes: 0x4020_1000,
  usable: USABLE,
  limit: 65_535,
  ...change,
})
const host = (change: Partial<HostLimits> = {}): HostLimits => ({
  name: 'vfio0',
  endpoint: FIRST,
  group: 7,
  info: info(),
  ...change,
})

function plan(config: Partial<IommuConfig>, hosts: readonly HostLimits[]) {
  const whole = { endpoints: 'all' as const, ...config }
  return withHosts(planIommu(whole, { devices: DEVICES, rootPorts: false, pciBridge: false }), whole, hosts)
}
const reserved = (config: Partial<IommuConfig>, usable: readonly IovaRange[]) =>
  plan(config, [host({ info: info({ usable }) })]).topology.endpoints[0]?.reserved
const region = (start: number, end: number) => ({ kind: 'reserved', start, end })

describe('withHosts', () => {
  it('leaves the plan alone where no device of the host is behind the IOMMU', () => {
    const config = { endpoints: ['rng0'] }
    const before = planIommu(config, { devices: DEVICES, rootPorts: false, pciBridge: false })
    expect(withHosts(before, config, [host({ endpoint: undefined })])).toEqual(before)
  })

  it("cuts the input range to the host's", () => {
    expect(plan({}, [host()]).options.input).toEqual({ start: 0, end: 0x7f_ffff_ffff })
  })

  it('cuts the input range to what all hosts map, in whole granules', () => {
    const usable = [{ start: 0x1800, end: 0xf_f7ff }]
    const hosts = [host(), host({ name: 'vfio1', endpoint: SECOND, group: 8, info: info({ usable }) })]
    expect(plan({}, hosts).options.input).toEqual({ start: 0x2000, end: 0xf_efff })
  })

  it('keeps an input range that the host maps', () => {
    const input = { start: 0x10_0000, end: 0x7f_ffff_ffff }
    expect(plan({ input }, [host()]).options.input).toEqual(input)
  })

  it('reserves what the host does not map between its ranges, for its device alone', () => {
    const usable = [
      { start: 0, end: 0x7ff_ffff },
      { start: 0x810_0000, end: 0xfff_ffff },
      { start: 0x1000_1000, end: 0x7f_ffff_ffff },
    ]
    const { endpoints } = plan({}, [host({ info: info({ usable }) })]).topology
    expect(endpoints.map(endpoint => endpoint.reserved)).toEqual([
      [region(0x800_0000, 0x80f_ffff), region(0x1000_0000, 0x1000_0fff), MSI],
      [MSI],
      [MSI],
    ])
  })

  it.each<[string, Partial<IommuConfig>, readonly IovaRange[], readonly unknown[]]>([
    ['the region for MSIs', {}, USABLE, [MSI]],
    [
      'the region for MSIs, in the middle of the hole',
      {},
      [
        { start: 0, end: 0xfecf_ffff },
        { start: 0xff00_0000, end: 0x7f_ffff_ffff },
      ],
      [region(0xfed0_0000, 0xfedf_ffff), MSI, region(0xfef0_0000, 0xfeff_ffff)],
    ],
    [
      'a region that was asked for, over the start of the hole',
      { reserved: [{ start: 0x7ff_0000, end: 0x800_ffff }] },
      [
        { start: 0, end: 0x7ff_ffff },
        { start: 0x810_0000, end: 0x7f_ffff_ffff },
      ],
      [region(0x7ff_0000, 0x800_ffff), region(0x801_0000, 0x80f_ffff), MSI],
    ],
    ['nothing where MSIs are translated', { msi: 'translate' }, USABLE, [region(0xfee0_0000, 0xfeef_ffff)]],
    [
      'what lies above the input range',
      { input: { start: 0, end: 0x17ff_ffff } },
      [
        { start: 0, end: 0xfff_ffff },
        { start: 0x2000_0000, end: 0x7f_ffff_ffff },
      ],
      [region(0x1000_0000, 0x17ff_ffff), MSI],
    ],
    [
      'what lies below the input range',
      { input: { start: 0x1800_0000, end: 0xffff_ffff } },
      [
        { start: 0, end: 0xfff_ffff },
        { start: 0x2000_0000, end: 0x7f_ffff_ffff },
      ],
      [region(0x1800_0000, 0x1fff_ffff), MSI],
    ],
    ['all that lies outside the input range', { input: { start: 0, end: 0xffff_efff } }, USABLE, [MSI]],
  ])('leaves out of the holes %s', (_, config, usable, regions) => {
    expect(reserved(config, usable)).toEqual(regions)
  })

  it("has no smaller granule than the host's pages", () => {
    const pages = info({ pageSizes: 0x2001_0000, usable: [{ start: 0x1_0000, end: 0xff_ffff }] })
    const { options } = plan({}, [host({ info: pages })])
    expect(options).toMatchObject({ granule: 0x1_0000, input: { start: 0x1_0000, end: 0xff_ffff } })
  })

  it('keeps a larger granule', () => {
    expect(plan({ granule: 2 ** 21 }, [host()]).options.granule).toBe(2 ** 21)
  })

  it('reads page sizes above 32 bits', () => {
    const pages = info({ pageSizes: 2 ** 39 + 2 ** 30, usable: [{ start: 0, end: 2 ** 40 - 1 }] })
    expect(plan({}, [host({ info: pages })]).options.granule).toBe(2 ** 30)
  })

  it('makes room in a PROBE reply for many regions', () => {
    const usable = Array.from({ length: 40 }, (_, i) => ({ start: i * 0x2000, end: i * 0x2000 + 0xfff }))
    const { topology, probeSize } = plan({}, [host({ info: info({ usable }) })])
    // The doorbells are outside the input range, and the region for them stays.
    expect(topology.endpoints[0]?.reserved.length).toBe(40)
    expect(probeSize).toBe(40 * 24)
  })

  it('offers no PROBE where none was asked for', () => {
    expect(plan({ probeSize: 0 }, [host()]).probeSize).toBe(0)
  })

  it('lets devices of one group be behind the IOMMU together', () => {
    expect(() => plan({}, [host(), host({ name: 'vfio1', endpoint: SECOND })])).not.toThrow()
  })

  it.each<[string, Partial<IommuConfig>, readonly HostLimits[], string]>([
    [
      'an input range beyond the host',
      { input: { start: 0, end: 2 ** 40 - 1 } },
      [host()],
      "the host's IOMMU maps 0-7fffffffff for vfio0, and the guest's is to map 0-ffffffffff: make input= smaller",
    ],
    [
      'a granule below its pages',
      { granule: 4096 },
      [host({ info: info({ pageSizes: 0x1_0000 }) })],
      "the host maps no less than 65536 bytes for vfio0: raise the IOMMU's granule from 4096",
    ],
    ['a host that maps nothing', {}, [host({ info: info({ usable: [] }) })], 'maps nothing for vfio0'],
    [
      'hosts with nothing in common',
      {},
      [
        host({ info: info({ usable: [{ start: 0, end: 0xfff }] }) }),
        host({ name: 'vfio1', endpoint: SECOND, group: 8, info: info({ usable: [{ start: 0x1000, end: 0x1fff }] }) }),
      ],
      'no addresses in common',
    ],
    [
      'a PROBE reply without room',
      { probeSize: 24 },
      [
        host({
          info: info({
            usable: [
              { start: 0, end: 0xfff },
              { start: 0x2000, end: 0x7f_ffff_ffff },
            ],
          }),
        }),
      ],
      'a PROBE reply takes 48 bytes, and it has 24: raise probe=',
    ],
    [
      'a group that is half behind it',
      { endpoints: ['vfio1'] },
      [host({ endpoint: undefined }), host({ name: 'vfio1', endpoint: SECOND })],
      'vfio0 and vfio1 share group 7 of the host: put both behind the IOMMU, or neither',
    ],
  ])('refuses %s', (_, config, hosts, message) => {
    expect(() => plan(config, hosts)).toThrow(BadInput)
    expect(() => plan(config, hosts)).toThrow(message)
  })
})

describe('lockedAtStart', () => {
  const free = { endpoint: undefined }
  const mate = { name: 'vfio1', endpoint: SECOND }

  it.each<[string, boolean | undefined, readonly Partial<HostLimits>[], number]>([
    ['all of it where there is no IOMMU', undefined, [free], 1],
    ['all of it for each group', undefined, [free, { ...free, group: 8 }], 2],
    ['all of it once for devices of a group', undefined, [free, { ...free, name: 'vfio1' }], 1],
    ['all of it where devices bypass the IOMMU at the start', true, [{}, mate], 1],
    ['nothing where they do not', false, [{}, mate], 0],
    ['what is not behind the IOMMU', false, [{}, { ...free, group: 8 }], 1],
    ['nothing without devices', true, [], 0],
  ])('is %s', (_, bypass, changes, times) => {
    const hosts = changes.map(change => host(change))
    const options = planIommu({ endpoints: 'all' }, { devices: DEVICES, rootPorts: false, pciBridge: false }).options
    const iommu = bypass === undefined ? undefined : { options: { ...options, bypass } }
    expect(lockedAtStart(hosts, iommu, 2 ** 30)).toBe(times * 2 ** 30)
  })
})

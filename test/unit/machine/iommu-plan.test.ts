import { describe, expect, it } from 'vitest'
import type { DeviceConfig } from '../../../src/machine/device/kinds.ts'
import type { IommuConfig } from '../../../src/machine/iommu-config.ts'
import { planIommu } from '../../../src/machine/iommu-plan.ts'

const DISK = { kind: 'disk', path: 'disk.img' } as const
const BALLOON = { kind: 'balloon' } as const
const RNG = { kind: 'rng' } as const
const MSI = { kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }
const SHARE = { kind: 'share', path: '/tmp', tag: 'tmp' } as const

function plan(config: Partial<IommuConfig> = {}, devices: readonly DeviceConfig[] = [DISK, BALLOON, RNG]) {
  return planIommu({ endpoints: 'all', ...config }, { devices, rootPorts: false, pciBridge: false })
}

describe('planIommu', () => {
  it('has defaults for everything', () => {
    expect(plan()).toMatchObject({
      options: {
        granule: 4096,
        input: { start: 0, end: 2 ** 48 - 1 },
        domains: { start: 0, end: 2 ** 32 - 1 },
        bypass: true,
        limits: { domain: 2 ** 20, total: 2 ** 20 },
        doorbells: [{ start: 0xfee0_0000, end: 0xfeef_ffff }],
      },
      probeSize: 512,
      mmio: true,
      legacyBypass: false,
    })
  })

  it('lets nothing pass before a driver of the old feature is there', () => {
    expect(plan({ legacyBypass: true }).options.bypass).toBe(false)
  })

  it('leaves out of all what cannot be behind an IOMMU', () => {
    const { topology, endpointOf } = plan({}, [DISK, BALLOON, SHARE, RNG])
    expect(topology.endpoints.map(({ name }) => name)).toEqual(['disk0', 'rng0'])
    expect(endpointOf).toEqual([0x08, undefined, undefined, 0x20])
  })

  it('takes only the devices that are named', () => {
    expect(plan({ endpoints: ['rng0'] }).endpointOf).toEqual([undefined, undefined, 0x18])
  })

  it('takes none', () => {
    expect(plan({ endpoints: [] }).topology.endpoints).toEqual([])
  })

  it('reserves the doorbells for MSIs', () => {
    expect(plan().topology.endpoints[0]?.reserved).toEqual([MSI])
  })

  it('reserves nothing where MSIs are translated', () => {
    expect(plan({ msi: 'translate' }).topology.endpoints[0]?.reserved).toEqual([])
  })

  it('adds regions of all devices and of one', () => {
    const reserved = [
      { start: 0x2000, end: 0x2fff },
      { device: 'rng0', start: 0x1000, end: 0x1fff },
    ]
    const [disk, rng] = plan({ reserved }).topology.endpoints
    expect(disk?.reserved).toEqual([{ kind: 'reserved', start: 0x2000, end: 0x2fff }, MSI])
    expect(rng?.reserved).toEqual([
      { kind: 'reserved', start: 0x1000, end: 0x1fff },
      { kind: 'reserved', start: 0x2000, end: 0x2fff },
      MSI,
    ])
  })

  it.each<[Partial<IommuConfig>, string]>([
    [{ granule: 2048 }, "the IOMMU's granule is a power of two from 4K to 1G, not 2048"],
    [{ granule: 12_288 }, "the IOMMU's granule is a power of two from 4K to 1G, not 12288"],
    [{ granule: 2 ** 31 }, "the IOMMU's granule is a power of two from 4K to 1G, not 2147483648"],
    [{ input: { start: 1, end: 0xffff } }, "the IOMMU's input range 1-ffff must start and end at a multiple"],
    [{ input: { start: 0, end: 0x1000 } }, "the IOMMU's input range 0-1000 must start and end at a multiple"],
    [{ granule: 0x1_0000, input: { start: 0x1000, end: 0x1_ffff } }, 'must start and end at a multiple'],
    [{ input: { start: 0x2000, end: 0xfff } }, "the IOMMU's input range: 2000-fff is no range of numbers up to"],
    [{ input: { start: 0, end: 2 ** 53 - 1 } }, "the IOMMU's input range: 0-1fffffffffffff is no range"],
    [{ domains: { start: 0, end: 2 ** 32 } }, "the IOMMU's domains: 0-100000000 is no range of numbers up to ffffffff"],
    [{ probeSize: -1 }, 'bytes of a PROBE reply: the IOMMU takes 0 to 65536, not -1'],
    [{ probeSize: 44 }, 'bytes of a PROBE reply: their number is a multiple of 8, not 44'],
    [{ probeSize: 16 }, '1 reserved regions take 24 bytes of a PROBE reply, which has 16'],
    [{ limits: { domain: 0 } }, 'mappings in a domain: the IOMMU takes 1 to 16777216, not 0'],
    [{ limits: { total: 2 ** 25 } }, 'mappings in all: the IOMMU takes 1 to 16777216, not 33554432'],
    [{ legacyBypass: true, bypass: true }, 'with legacy-bypass the driver alone decides about bypass'],
    [{ endpoints: ['disk1'] }, 'no device is called "disk1": there are disk0, balloon0, rng0'],
    [{ endpoints: ['disk0', 'disk0'] }, 'disk0 is named twice for the IOMMU'],
    [{ endpoints: ['balloon0'] }, 'balloon0 cannot be behind the IOMMU: the pages of a balloon are physical ones'],
    [{ reserved: [{ start: 2, end: 1 }] }, 'a reserved region: 2-1 is no range of numbers'],
    [{ reserved: [{ device: 'net0', start: 0, end: 1 }] }, 'no device is called "net0"'],
    [{ reserved: [{ device: 'balloon0', start: 0, end: 1 }] }, 'balloon0 has a reserved region, and is not behind'],
    [
      { reserved: [{ start: 0xfeef_f000, end: 0xfeff_ffff }] },
      'reserved regions fee00000-feefffff and feeff000-feffffff of disk0 overlap',
    ],
  ])('refuses %j', (config, message) => {
    expect(() => plan(config)).toThrow(message)
  })

  it('refuses to name a share', () => {
    expect(() => plan({ endpoints: ['share0'] }, [SHARE])).toThrow('share0 cannot be behind the IOMMU: another program')
  })

  it('says when there is no device at all', () => {
    expect(() => plan({ endpoints: ['disk0'] }, [])).toThrow('no device is called "disk0": the guest has no devices')
  })
})

import { describe, expect, it } from 'vitest'
import { parseIommu } from '../../../src/cli/iommu-option.ts'
import { parseRun } from '../../../src/cli/run-options.ts'

describe('parseIommu', () => {
  it.each([
    ['all', { endpoints: 'all' }],
    ['none', { endpoints: [] }],
    ['disk0', { endpoints: ['disk0'] }],
    ['disk0+net12', { endpoints: ['disk0', 'net12'] }],
    ['all,granule=4096', { endpoints: 'all', granule: 4096 }],
    ['all,granule=64K', { endpoints: 'all', granule: 0x1_0000 }],
    ['all,granule=2m', { endpoints: 'all', granule: 0x20_0000 }],
    ['all,granule=1G', { endpoints: 'all', granule: 0x4000_0000 }],
    ['all,input=1000-ffffffff', { endpoints: 'all', input: { start: 0x1000, end: 0xffff_ffff } }],
    ['all,input=0x1000-0xFFFF', { endpoints: 'all', input: { start: 0x1000, end: 0xffff } }],
    ['all,domains=1-255', { endpoints: 'all', domains: { start: 1, end: 255 } }],
    ['all,domains=0x10-0xff', { endpoints: 'all', domains: { start: 16, end: 255 } }],
    ['all,bypass=off', { endpoints: 'all', bypass: false }],
    ['all,bypass=on', { endpoints: 'all', bypass: true }],
    ['all,legacy-bypass', { endpoints: 'all', legacyBypass: true }],
    ['all,probe=64', { endpoints: 'all', probeSize: 64 }],
    ['all,probe=off', { endpoints: 'all', probeSize: 0 }],
    ['all,mmio=off', { endpoints: 'all', mmio: false }],
    ['all,msi=translate', { endpoints: 'all', msi: 'translate' }],
    ['all,limit=64', { endpoints: 'all', limits: { domain: 64, total: 64 } }],
    ['all,topology=both', { endpoints: 'all', topology: 'both' }],
    ['all,reserved=1000-1fff', { endpoints: 'all', reserved: [{ start: 0x1000, end: 0x1fff }] }],
    [
      'all,reserved=1000-1fff,reserved=disk0:2000-2fff',
      {
        endpoints: 'all',
        reserved: [
          { start: 0x1000, end: 0x1fff },
          { device: 'disk0', start: 0x2000, end: 0x2fff },
        ],
      },
    ],
  ])('takes %s', (text, config) => {
    expect(parseIommu(text)).toEqual(config)
  })

  it.each([
    ['', '--iommu starts with all, none, or devices such as disk0+net0, not ""'],
    ['granule=4K', '--iommu starts with all, none, or devices such as disk0+net0, not "granule=4K"'],
    ['disk0+', '--iommu starts with all, none, or devices such as disk0+net0, not "disk0+"'],
    ['all+disk0', '--iommu starts with all, none, or devices such as disk0+net0, not "all+disk0"'],
    ['all,', '--iommu has no word "": there are legacy-bypass, granule=, input='],
    ['all,fast', '--iommu has no word "fast"'],
    ['all,bypass', '--iommu has no word "bypass"'],
    ['all,legacy-bypass=on', '--iommu has no word "legacy-bypass=on"'],
    ['all,toString=1', '--iommu has no word "toString=1"'],
    ['all,bypass=on,bypass=off', '--iommu has bypass twice'],
    ['all,bypass=yes', '--iommu bypass must be one of on, off, not "yes"'],
    ['all,mmio=1', '--iommu mmio must be one of on, off, not "1"'],
    ['all,granule=4P', '--iommu granule must be a size such as 4K, 64K or 2M, not "4P"'],
    ['all,input=1000', '--iommu input must be a range such as 8000000-80fffff (hexadecimal), not "1000"'],
    ['all,input=0-1-2', '--iommu input must be a range such as 8000000-80fffff (hexadecimal), not "0-1-2"'],
    ['all,input=0-ffffffffffffffff', '--iommu input must be a range such as'],
    ['all,domains=1-ff', '--iommu domains must be a range such as 0-255, not "1-ff"'],
    ['all,probe=0', '--iommu probe must be a whole number from 1 to'],
    ['all,limit=0', '--iommu limit must be a whole number from 1 to'],
    ['all,msi=none', '--iommu msi must be one of reserve, translate, not "none"'],
    ['all,topology=fdt', '--iommu topology must be one of acpi, dt, both, not "fdt"'],
    ['all,reserved=disk0', '--iommu reserved must be a range such as 8000000-80fffff (hexadecimal), not "disk0"'],
  ])('refuses %s', (text, message) => {
    expect(() => parseIommu(text)).toThrow(message)
  })
})

describe('parseRun', () => {
  it('takes no IOMMU for nothing', () => {
    expect(parseRun([]).iommu).toBeUndefined()
  })

  it('takes all that belongs to an IOMMU', () => {
    const { iommu } = parseRun(['--iommu', 'all,mmio=off', '--iommu-trace', 'trace.jsonl', '--iommu-check'])
    expect(iommu).toEqual({
      config: { endpoints: 'all', mmio: false },
      words: 'all,mmio=off',
      traceFile: 'trace.jsonl',
      check: true,
    })
  })

  it.each([
    [['--iommu-trace', 'file'], '--iommu-trace goes with --iommu'],
    [['--iommu-check'], '--iommu-check goes with --iommu'],
  ])('refuses %s alone', (words, message) => {
    expect(() => parseRun(words)).toThrow(message)
  })
})

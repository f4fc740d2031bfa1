import { describe, expect, it } from 'vitest'
import { buildFirmware } from '../../../src/arch/index.ts'
import { ECAM_START, PCI_WINDOW_32, PCI_WINDOW_64 } from '../../../src/arch/x86-64/layout.ts'
import { cellsOf, readTree } from '../../support/device-tree.ts'
import { decompile, hasDtc, NO_DTC } from '../../support/device-tree-compiler.ts'

const GIB = 2 ** 30
const TOPOLOGY = {
  iommu: 0xf8,
  endpoints: [8, 16, 0x100].map(id => ({ id, name: `device ${id}`, reserved: [] })),
}
const MACHINE = { cpus: 2, memory: 4 * GIB, buses: 1 }
const signatures = (segments: readonly { readonly bytes: Uint8Array }[]) =>
  segments.map(({ bytes }) => new TextDecoder().decode(bytes.subarray(0, 4)))

describe('buildFirmware', () => {
  it('has neither VIOT nor device tree without an IOMMU', () => {
    const { segments, deviceTree } = buildFirmware(MACHINE)
    expect(signatures(segments)).toEqual(['RSD ', 'FACS', 'DSDT', 'FACP', 'APIC', 'MCFG', 'XSDT'])
    expect(deviceTree).toBeUndefined()
  })

  it.each([
    { describedBy: 'acpi', viot: true, tree: false },
    { describedBy: 'dt', viot: false, tree: true },
    { describedBy: 'both', viot: true, tree: true },
  ] as const)('describes the IOMMU by $describedBy', ({ describedBy, viot, tree }) => {
    const { segments, deviceTree } = buildFirmware({ ...MACHINE, iommu: { topology: TOPOLOGY, describedBy } })
    expect(signatures(segments).includes('VIOT')).toBe(viot)
    expect(deviceTree !== undefined).toBe(tree)
  })

  it('has no VIOT for an IOMMU without endpoints', () => {
    const iommu = { topology: { ...TOPOLOGY, endpoints: [] }, describedBy: 'acpi' } as const
    expect(signatures(buildFirmware({ ...MACHINE, iommu }).segments)).not.toContain('VIOT')
  })
})

describe('the device tree', () => {
  const blob = buildFirmware({ ...MACHINE, iommu: { topology: TOPOLOGY, describedBy: 'dt' } }).deviceTree!
  const tree = readTree(blob)

  it('has no map of endpoints where there are none', () => {
    const iommu = { topology: { ...TOPOLOGY, endpoints: [] }, describedBy: 'dt' } as const
    const empty = readTree(buildFirmware({ ...MACHINE, iommu }).deviceTree!)
    const maps = [tree, empty].map(found => [...found.keys()].filter(path => path.endsWith('/iommu-map')).length)
    expect(maps).toEqual([1, 0])
  })

  it('draws no complaint from dtc', ({ skip }) => {
    skip(!hasDtc(), NO_DTC)
    const { status, complaints } = decompile(blob)
    expect(complaints).toBe('')
    expect(status).toBe(0)
  })

  it('draws complaints when it is damaged', ({ skip }) => {
    skip(!hasDtc(), NO_DTC)
    const damaged = blob.slice()
    new DataView(damaged.buffer).setUint32(8, 0xffff)
    expect(decompile(damaged).complaints).not.toBe('')
  })

  it('has all memory, on both sides of the hole', () => {
    expect(cellsOf(tree, '/memory@0/reg')).toEqual([0, 0, 0, 0xc000_0000, 1, 0, 0, 0x4000_0000])
  })

  it('has each processor', () => {
    expect([cellsOf(tree, '/cpus/cpu@0/reg'), cellsOf(tree, '/cpus/cpu@1/reg')]).toEqual([[0], [1]])
    expect(tree.has('/cpus/cpu@2/reg')).toBe(false)
  })

  it('has PCI with its configuration space, windows and IOMMU', () => {
    const at = '/pcie@e0000000'
    const halves = (value: number) => [Math.floor(value / 2 ** 32), value % 2 ** 32]
    const window = (space: number, { start, size }: { start: number; size: number }) => [
      space,
      ...[start, start, size].flatMap(halves),
    ]
    expect(cellsOf(tree, `${at}/reg`)).toEqual([0, ECAM_START, 0, 2 ** 28])
    expect(cellsOf(tree, `${at}/ranges`)).toEqual([
      ...window(0x0200_0000, PCI_WINDOW_32),
      ...window(0x0300_0000, PCI_WINDOW_64),
    ])
    const [phandle] = cellsOf(tree, `${at}/virtio_iommu@1f,0/phandle`)
    expect(cellsOf(tree, `${at}/iommu-map`)).toEqual([8, 16, 0x100].flatMap(id => [id, phandle, id, 1]))
    expect(cellsOf(tree, `${at}/virtio_iommu@1f,0/reg`)).toEqual([0xf800, 0, 0, 0, 0])
  })

  it('fits the pages for it on the largest machine', () => {
    const endpoints = Array.from({ length: 34 }, (_, i) => ({ id: 8 * i, name: '', reserved: [] }))
    const largest = buildFirmware({
      ...MACHINE,
      cpus: 16,
      iommu: { topology: { iommu: 0xf8, endpoints }, describedBy: 'dt' },
    })
    expect(largest.deviceTree!.length).toBeLessThan(0x2000 - 16)
  })
})

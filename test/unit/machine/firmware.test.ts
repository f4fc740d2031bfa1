import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { planMachine } from '../../../src/machine/config.ts'
import { planFirmware } from '../../../src/machine/firmware.ts'
import { cellsOf, readTree } from '../../support/device-tree.ts'
import { elf, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const RNG = { kind: 'rng' } as const
const rngs = (count: number) => Array.from({ length: count }, () => RNG)
const machine = (change: object = {}) => ({ cpus: 1, memoryMiB: 64, devices: rngs(2), ...change })
const table = (name: string, { segments }: ReturnType<typeof planFirmware>) =>
  segments.find(({ bytes }) => new TextDecoder().decode(bytes.subarray(0, 4)) === name)?.bytes

describe('planFirmware', () => {
  it.each([
    { change: {}, last: 0 },
    { change: { rootPorts: true }, last: 2 },
    { change: { pciBridge: true }, last: 1 },
    { change: { pciBridge: true, devices: [] }, last: 1 },
  ])('lets MCFG name the buses that there are ($change)', ({ change, last }) => {
    expect(table('MCFG', planFirmware(machine(change)))?.[36 + 8 + 11]).toBe(last)
  })

  it.each([
    { change: {}, ids: [0x8, 0x10] },
    { change: { rootPorts: true }, ids: [0x100, 0x200] },
    { change: { pciBridge: true }, ids: [0x8, 0x100, 0x108] },
  ])('describes the devices behind the IOMMU where they are ($change)', ({ change, ids }) => {
    const iommu = { endpoints: 'all', topology: 'dt' } as const
    const tree = readTree(planFirmware(machine({ ...change, iommu })).deviceTree ?? new Uint8Array(40))
    const map = cellsOf(tree, '/pcie@e0000000/iommu-map')
    expect(map.filter((_, i) => i % 4 === 0)).toEqual(ids)
  })

  it.each([
    { what: '31 devices beside an IOMMU', change: { devices: rngs(31), iommu: { endpoints: [] } } },
    { what: '33 devices behind a bridge', change: { devices: rngs(33), pciBridge: true } },
    { what: 'root ports and a bridge', change: { rootPorts: true, pciBridge: true } },
  ])('refuses $what', ({ change }) => {
    expect(() => planFirmware(machine(change))).toThrow(BadInput)
  })
})

describe('planMachine', () => {
  const image = elf({ notes: pvhNote(16 * MIB) })
  const kernel = (protocol: 'pvh' | undefined) => ({ image, name: 'vmlinux', ...(protocol && { protocol }) })
  const iommu = { endpoints: 'all', topology: 'dt' } as const

  it('gives a kernel the device tree of its IOMMU', () => {
    const plan = planMachine(machine({ kernel: kernel(undefined), iommu }) as never)
    const setupData = plan.segments.find(({ gpa }) => gpa === 0x8a000)?.bytes
    expect(setupData?.subarray(16)).toEqual(planFirmware(machine({ iommu })).deviceTree)
  })

  it('refuses a boot protocol that cannot pass one', () => {
    expect(() => planMachine(machine({ kernel: kernel('pvh'), iommu }) as never)).toThrow(
      'vmlinux is entered by pvh, which takes no device tree',
    )
  })
})

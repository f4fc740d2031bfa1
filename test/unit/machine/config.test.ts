import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { type MachineConfig, planMachine } from '../../../src/machine/config.ts'
import type { DeviceConfig } from '../../../src/machine/device/kinds.ts'
import { Assembler, LOAD_ADDRESS } from '../../support/micro-guest.ts'

const image = new Assembler().exit(0).image()
const config = (rest: Partial<MachineConfig>): MachineConfig => ({
  memoryMiB: 16,
  cpus: 1,
  kernel: { image, name: 'micro' },
  ...rest,
})

describe('planMachine', () => {
  it.each([0, 17, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d vCPUs', cpus => {
    expect(() => planMachine(config({ cpus }))).toThrow(
      new BadInput(`a machine has 1 to 16 vCPUs, not ${cpus}: change -c`),
    )
  })

  it.each([0, 1, 255 * 1024 + 1, -16, 16.5, Number.NaN])('refuses %d MiB of memory', memoryMiB => {
    expect(() => planMachine(config({ memoryMiB }))).toThrow(
      new BadInput(`memory must be 2 to 261120 MiB, not ${memoryMiB}: change -m`),
    )
  })

  it.each([
    [2, 1],
    [16, 16],
    [3072, 2],
    [255 * 1024, 1],
  ])('plans %d MiB with %d vCPUs', (memoryMiB, cpus) => {
    const plan = planMachine(config({ memoryMiB, cpus }))
    expect(plan.entry).toMatchObject({ mode: 'protected', eip: LOAD_ADDRESS + 0x40 })
  })

  it('refuses a balloon beside a disk that pins guest memory', () => {
    const disk = { kind: 'disk' as const, path: 'disk.img' }
    const balloon = { kind: 'balloon' as const }
    expect(() => planMachine(config({ devices: [{ ...disk, pinned: true }, balloon] }))).toThrow(BadInput)
    expect(() => planMachine(config({ devices: [disk, balloon] }))).not.toThrow()
  })

  it.each([
    ['two consoles', [{ kind: 'console' }, { kind: 'console' }], 'a machine has one virtio console'],
    ['two balloons', [{ kind: 'balloon' }, { kind: 'balloon', targetMiB: 1 }], 'a machine has one balloon'],
    [
      'two socket devices',
      [
        { kind: 'vsock', cid: 3, path: 'a' },
        { kind: 'vsock', cid: 4, path: 'b' },
      ],
      'a machine has one socket device',
    ],
    [
      'a tag twice',
      [
        { kind: 'share', path: '/a', tag: 'x' },
        { kind: 'share', path: '/b', tag: 'x' },
      ],
      'two shares have the tag "x"',
    ],
    [
      'a file with two writers',
      [
        { kind: 'disk', path: 'a/../disk.img' },
        { kind: 'disk', path: './disk.img' },
      ],
      'disk ./disk.img is given twice',
    ],
    [
      'a file with a writer and a reader',
      [
        { kind: 'disk', path: 'disk.img', readOnly: true },
        { kind: 'disk', path: 'disk.img' },
      ],
      'disk disk.img is given twice',
    ],
    [
      "a host's device twice",
      [
        { kind: 'vfio', address: '0000:00:10.0' },
        { kind: 'vfio', address: '0000:00:11.0' },
        { kind: 'vfio', address: '0000:00:10.0' },
      ],
      "the host's device 0000:00:10.0 is given twice",
    ],
    [
      "a balloon beside a host's device",
      [{ kind: 'vfio', address: '0000:00:10.0' }, { kind: 'balloon' }],
      'leave out the balloon, or --vfio',
    ],
  ] satisfies [string, DeviceConfig[], string][])('refuses %s', (_, devices, message) => {
    expect(() => planMachine(config({ devices }))).toThrow(BadInput)
    expect(() => planMachine(config({ devices }))).toThrow(message)
  })

  it('takes two readers of one file, and two entropy devices', () => {
    const disk = { kind: 'disk' as const, path: 'disk.img', readOnly: true }
    const rng = { kind: 'rng' as const }
    expect(() => planMachine(config({ devices: [disk, disk, rng, rng] }))).not.toThrow()
  })

  it('puts the ACPI tables into guest memory, with one entry for each vCPU', () => {
    const size = (cpus: number) =>
      planMachine(config({ cpus })).segments.reduce((sum, { bytes }) => sum + bytes.length, 0)
    const root = planMachine(config({})).segments.find(({ bytes }) => text(bytes).startsWith('RSD PTR '))
    expect(root?.gpa).toBe(0xe_0000)
    expect(size(3) - size(2)).toBe(size(2) - size(1))
    expect(size(2)).toBeGreaterThan(size(1))
  })

  it('puts no two segments over each other', () => {
    const initrd = { parts: [new Uint8Array(5000), new Uint8Array(1)], name: 'initrd' }
    const { segments } = planMachine(config({ initrd, cmdline: 'console=ttyS0' }))
    const sorted = segments.toSorted((a, b) => a.gpa - b.gpa)
    const overlaps = sorted.filter(
      (segment, i) => i > 0 && sorted[i - 1]!.gpa + sorted[i - 1]!.bytes.length > segment.gpa,
    )
    expect(overlaps).toEqual([])
  })

  it('names the image that is no kernel', () => {
    const kernel = { image: new Uint8Array(10_000).fill(7), name: 'holiday.jpg' }
    expect(() => planMachine(config({ kernel }))).toThrow(BadInput)
    expect(() => planMachine(config({ kernel }))).toThrow('holiday.jpg')
  })

  it('names the initrd that does not fit', () => {
    const initrd = { parts: [new Uint8Array(2 ** 25)], name: 'huge.cpio' }
    expect(() => planMachine(config({ initrd }))).toThrow('huge.cpio')
  })
})

function text(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes)
}

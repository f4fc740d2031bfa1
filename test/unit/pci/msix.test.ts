import { describe, expect, it } from 'vitest'
import { Msix, pbaBytes } from '../../../src/pci/msix.ts'
import { FakePciHost } from '../../support/pci-host.ts'
import { capabilities, loggedHandler, PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const BASE = 0xc000_0000
const TABLE = BASE + 0x2000
const PBA = BASE + 0x3000
const ENABLE = 0x8000
const MASK_ALL = 0x4000
const MASTER_AND_MEMORY = 6
const MESSAGE = { address: 0xfee0_1000, data: 0x4041 }

/** A plugged-in, decoding endpoint with three vectors. */
function machineWithMsix() {
  const machine = new PciMachine()
  const log: string[] = []
  const endpoint = testEndpoint({
    bars: [testBar({ size: 0x4000, handler: loggedHandler(log) })],
    msix: { vectors: 3, bar: 0, tableOffset: 0x2000, pbaOffset: 0x3000 },
    interruptPin: 1,
    host: machine.host,
  })
  machine.complex.add(endpoint)
  machine.write(0, 1, 0x10, 4, BASE)
  machine.write(0, 1, 0x04, 2, MASTER_AND_MEMORY)
  const at = capabilities(endpoint).get(0x11) ?? 0
  return {
    machine,
    log,
    endpoint,
    mmio: machine.mmio,
    vectors: machine.host.vectors,
    control: (value: number) => machine.write(0, 1, at + 2, 2, value),
    readControl: () => machine.read(0, 1, at + 2, 2),
    capability: () => [machine.read(0, 1, at + 4, 4), machine.read(0, 1, at + 8, 4)],
    /** Writes an entry as Linux does. */
    program: (vector: number, { address, data } = MESSAGE) => {
      machine.mmio.write(TABLE + 16 * vector, 4, address)
      machine.mmio.write(TABLE + 16 * vector + 4, 4, 0)
      machine.mmio.write(TABLE + 16 * vector + 8, 4, data)
    },
    mask: (vector: number, masked: boolean) => machine.mmio.write(TABLE + 16 * vector + 12, 4, masked ? 1 : 0),
  }
}

describe('Msix', () => {
  it('tells where table and pending bits are', () => {
    const { readControl, capability } = machineWithMsix()
    expect(readControl()).toBe(2)
    expect(capability()).toEqual([0x2000, 0x3000])
  })

  it('starts with every vector masked', () => {
    const { mmio } = machineWithMsix()
    expect([0, 4, 8, 12].map(at => mmio.read(TABLE + at, 4))).toEqual([0, 0, 0, 1])
  })

  it('connects once at the unmask, after address, upper address and data', () => {
    const { control, program, mask, vectors } = machineWithMsix()
    control(ENABLE)
    program(1)
    expect(vectors[1]?.connects).toEqual([])
    mask(1, false)
    expect(vectors[1]?.connects).toEqual([MESSAGE])
    expect(vectors[0]?.connects).toEqual([])
  })

  it('connects all unmasked vectors when the function mask goes, as Linux has it', () => {
    const { control, program, mask, vectors } = machineWithMsix()
    control(ENABLE | MASK_ALL)
    program(0)
    program(2, { address: 0xfee0_2000, data: 5 })
    mask(0, false)
    mask(2, false)
    expect(vectors.flatMap(vector => vector.connects)).toEqual([])
    control(ENABLE)
    expect(vectors.map(vector => vector.message)).toEqual([MESSAGE, undefined, { address: 0xfee0_2000, data: 5 }])
  })

  it.each([
    ['the vector is masked', 0, true, ENABLE, MASTER_AND_MEMORY],
    ['the function is masked', 0, false, ENABLE | MASK_ALL, MASTER_AND_MEMORY],
    ['MSI-X is off', 0, false, 0, MASTER_AND_MEMORY],
    ['the function is no bus master', 0, false, ENABLE, 2],
  ])('disconnects when %s', (_name, vector, masked, control, command) => {
    const set = machineWithMsix()
    set.control(ENABLE)
    set.program(vector)
    set.mask(vector, false)
    set.mask(vector, masked)
    set.control(control)
    set.machine.write(0, 1, 0x04, 2, command)
    expect(set.vectors[0]?.connects).toEqual([MESSAGE, undefined])
  })

  it('keeps a trigger of a masked vector pending, shows it, and sends it at the unmask', () => {
    const { control, program, mask, vectors, mmio, endpoint } = machineWithMsix()
    control(ENABLE)
    program(2)
    endpoint.vector(2)?.trigger()
    expect(mmio.read(PBA, 4)).toBe(4)
    mask(2, false)
    expect(mmio.read(PBA, 4)).toBe(0)
    expect(vectors[2]?.sent).toEqual([MESSAGE])
  })

  it('moves an interrupt to another processor without losing one: mask, write, unmask', () => {
    const { control, program, mask, vectors, endpoint } = machineWithMsix()
    const other = { address: 0xfee0_3000, data: 0x4042 }
    control(ENABLE)
    program(0)
    mask(0, false)
    mask(0, true)
    endpoint.vector(0)?.trigger()
    program(0, other)
    mask(0, false)
    expect(vectors[0]?.connects).toEqual([MESSAGE, undefined, other])
    expect(vectors[0]?.sent).toEqual([other])
  })

  it('takes an unmasked entry over at its data, never half-written', () => {
    const { control, program, mask, vectors, mmio } = machineWithMsix()
    control(ENABLE)
    program(0)
    mask(0, false)
    mmio.write(TABLE, 4, 0xfee0_9000)
    mmio.write(TABLE + 4, 4, 0)
    expect(vectors[0]?.message).toEqual(MESSAGE)
    mmio.write(TABLE + 8, 4, 7)
    expect(vectors[0]?.connects.slice(1)).toEqual([{ address: 0xfee0_9000, data: 7 }])
  })

  it('does not connect again when nothing changed', () => {
    const { control, program, mask, vectors } = machineWithMsix()
    control(ENABLE)
    program(0)
    mask(0, false)
    program(0)
    mask(0, false)
    control(ENABLE)
    expect(vectors[0]?.connects.length).toBe(1)
  })

  it('takes entries in qwords, and gives them', () => {
    const { control, vectors, mmio } = machineWithMsix()
    const view = new DataView(new ArrayBuffer(8))
    control(ENABLE)
    view.setBigUint64(0, 0x0000_0001_fee0_1000n, true)
    mmio.writeFrom(TABLE + 16, 8, view, 0)
    view.setBigUint64(0, 0x0000_0000_0000_4041n, true)
    mmio.writeFrom(TABLE + 24, 8, view, 0)
    expect(vectors[1]?.connects).toEqual([{ address: 0x1_fee0_1000, data: 0x4041 }])
    mmio.readInto(TABLE + 16, 8, view, 0)
    expect(view.getBigUint64(0, true)).toBe(0x0000_0001_fee0_1000n)
  })

  it.each([
    ['a byte of the data', 8, 1, 0xaa, 8, 0x1122_33aa],
    ['a word of the data', 10, 2, 0xaabb, 8, 0xaabb_3344],
    ['reserved control bits', 12, 4, 0xffff_fffe, 12, 0],
    ['the low address bits', 0, 4, 0xfee0_1003, 0, 0xfee0_1000],
    ['across two registers', 6, 4, 0xffff_ffff, 8, 0x1122_3344],
  ])('is harmless about %s', (_name, offset, size, value, at, result) => {
    const { mmio } = machineWithMsix()
    mmio.write(TABLE + 8, 4, 0x1122_3344)
    mmio.write(TABLE + offset, size, value)
    expect(mmio.read(TABLE + at, 4)).toBe(result)
  })

  it('leaves the rest of the BAR to the device', () => {
    const { mmio, log } = machineWithMsix()
    mmio.read(BASE + 0x1ffc, 4)
    mmio.write(TABLE + 16 * 3, 4, 1)
    mmio.write(PBA, 4, 1)
    mmio.read(PBA + 4, 4)
    mmio.read(PBA + 8, 2)
    expect(log).toEqual(['r1ffc:4', 'w2030:4=1', 'r3008:2'])
  })

  it('forgets what was pending when the guest switches MSI-X off', () => {
    const { control, endpoint, mmio } = machineWithMsix()
    control(ENABLE)
    endpoint.vector(0)?.trigger()
    control(0)
    control(ENABLE)
    expect(mmio.read(PBA, 4)).toBe(0)
  })

  it('is at power-on after a reset of the function', () => {
    const { machine, control, program, mask, vectors, endpoint, readControl, mmio } = machineWithMsix()
    control(ENABLE)
    program(0)
    mask(0, false)
    endpoint.vector(1)?.trigger()
    endpoint.reset()
    machine.write(0, 1, 0x10, 4, BASE)
    machine.write(0, 1, 0x04, 2, MASTER_AND_MEMORY)
    expect(vectors.map(vector => [vector.message, vector.pending])).toEqual([
      [undefined, false],
      [undefined, false],
      [undefined, false],
    ])
    expect(readControl()).toBe(2)
    expect([0, 4, 8, 12].map(at => mmio.read(TABLE + at, 4))).toEqual([0, 0, 0, 1])
  })

  it('disconnects at a reset whoever asks for it', () => {
    const host = new FakePciHost()
    const place = { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 }
    const msix = new Msix(
      place,
      host,
      () => 0,
      () => true,
    )
    msix.capability.onWrite?.(2, 2, ENABLE, new DataView(new Uint8Array([0, 0, 0, ENABLE >> 8]).buffer))
    msix.table.write(12, 4, 0)
    msix.reset()
    expect(host.vectors[0]?.connects).toEqual([{ address: 0, data: 0 }, undefined])
  })

  it('gives vectors the requester ID that the function has at the time', () => {
    const { vectors } = machineWithMsix()
    expect(vectors.map(vector => vector.requester())).toEqual([8, 8, 8])
  })

  it('closes its vectors with the function', () => {
    const { endpoint, vectors } = machineWithMsix()
    endpoint.close()
    expect(vectors.map(vector => vector.isClosed)).toEqual([true, true, true])
  })

  it.each([
    [0, 31, 0x8000_0000],
    [4, 32, 1],
    [8, 64, 1],
    [8, 65, 2],
  ])('has in dword %i of the pending bits vector %i', (offset, vector, bits) => {
    const host = new FakePciHost()
    const msix = new Msix(
      { vectors: 66, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
      host,
      () => 0,
      () => true,
    )
    host.vectors[vector]?.trigger()
    expect(msix.pba.read(offset, 4)).toBe(bits)
  })
})

describe('pbaBytes', () => {
  it.each([
    [1, 8],
    [64, 8],
    [65, 16],
    [2048, 256],
  ])('gives %i vectors whole qwords', (vectors, bytes) => {
    expect(pbaBytes(vectors)).toBe(bytes)
  })
})

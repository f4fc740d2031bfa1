import { describe, expect, it } from 'vitest'
import { cells64, type FdtNode, writeFdt } from '../../../src/boot/fdt.ts'
import { readTree } from '../../support/device-tree.ts'
import { compileTree, decompile, hasDtc, NO_DTC } from '../../support/device-tree-compiler.ts'

const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex')

const TREE: FdtNode = {
  name: '',
  properties: { '#address-cells': [2], '#size-cells': [2], compatible: ['first', 'second'], flag: true },
  children: [
    {
      name: 'memory@4000000000',
      properties: { device_type: 'memory', reg: [...cells64(2 ** 38), 0, 0xffff_ffff] },
    },
    { name: 'bus', properties: { compatible: 'x' }, children: [{ name: 'leaf', properties: {} }] },
  ],
}
const SOURCE = `/dts-v1/; / {
  #address-cells = <2>; #size-cells = <2>; compatible = "first", "second"; flag;
  memory@4000000000 { device_type = "memory"; reg = <0x40 0 0 0xffffffff>; };
  bus { compatible = "x"; leaf { }; };
};`

describe('writeFdt', () => {
  it('pins every byte of a small tree', () => {
    const blob = writeFdt({ name: '', properties: { a: [0x8000_0001], bc: 'hi' }, children: [] })
    const parts = [
      'd00dfeed' + '00000070' + '00000038' + '00000068' + '00000028', // magic, size, structure, strings, reservations
      '00000011' + '00000010' + '00000000' + '00000005' + '00000030', // versions, boot CPU, sizes
      '00'.repeat(16), // end of reservations
      '00000001' + '00000000', // begin, ""
      '00000003' + '00000004' + '00000000' + '80000001', // a
      '00000003' + '00000003' + '00000002' + '68690000', // bc
      '00000002' + '00000009', // end of node, end
      '6100' + '626300', // strings
      '00'.repeat(3),
    ]
    expect(hex(blob)).toBe(parts.join(''))
  })

  it('writes a name that several properties have once', () => {
    const tree = readTree(writeFdt(TREE))
    const blob = Buffer.from(writeFdt(TREE))
    expect(blob.toString('latin1').split('compatible').length).toBe(2)
    expect([hex(tree.get('/compatible')), hex(tree.get('/bus/compatible'))]).toEqual([
      Buffer.from('first\0second\0').toString('hex'),
      Buffer.from('x\0').toString('hex'),
    ])
  })

  it('keeps empty properties, and cells of 32 bits', () => {
    const tree = readTree(writeFdt(TREE))
    expect(tree.get('/flag')).toEqual(new Uint8Array(0))
    expect(hex(tree.get('/memory@4000000000/reg'))).toBe('000000400000000000000000ffffffff')
  })

  it('writes what dtc makes of the same tree', ({ skip }) => {
    skip(!hasDtc(), NO_DTC)
    const [ours, theirs] = [writeFdt(TREE), compileTree(SOURCE).output]
    expect([...readTree(ours)]).toEqual([...readTree(theirs)])
    expect(decompile(ours)).toEqual(decompile(theirs))
  })

  it.each([[-1], [2 ** 32], [0.5]])('stops on the cell %d', cell => {
    expect(() => writeFdt({ name: '', properties: { a: [cell] } })).toThrow('a cell of a device tree has 32 bits')
  })

  it('stops on a root with a name', () => {
    expect(() => writeFdt({ name: 'root', properties: {} })).toThrow('the root node has no name')
  })
})

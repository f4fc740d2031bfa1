import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { parseVfio } from '../../../src/cli/vfio-option.ts'

const IMAGE = import.meta.filename

describe('parseVfio', () => {
  it.each([
    ['00:10.0', { address: '0000:00:10.0' }],
    ['0001:0A:1f.7', { address: '0001:0a:1f.7' }],
    ['00:10.0,bind', { address: '0000:00:10.0', bind: true }],
    ['00:10.0,rom=off', { address: '0000:00:10.0', rom: 'none' }],
    ['00:10.0,rom=a=b,bind', { address: '0000:00:10.0', rom: { file: 'a=b' }, bind: true }],
  ])('takes %s', (words, config) => {
    expect(parseVfio([words])).toEqual([{ config: { kind: 'vfio', ...config }, words }])
  })

  it("takes the rig's devices by their names, and knows where they are", () => {
    const words = ['edu', `nvme=${IMAGE}`, 'edu,rom=off']
    expect(parseVfio(words)).toEqual([
      {
        config: { kind: 'vfio', address: '0000:00:10.0', bind: true, hostGroup: 16 },
        words: words[0],
        emulated: { kind: 'edu' },
      },
      {
        config: { kind: 'vfio', address: '0000:00:11.0', bind: true, hostGroup: 17 },
        words: words[1],
        emulated: { kind: 'nvme', path: IMAGE, writable: true },
      },
      {
        config: { kind: 'vfio', address: '0000:00:13.0', bind: true, rom: 'none', hostGroup: 19 },
        words: words[2],
        emulated: { kind: 'edu' },
      },
    ])
  })

  it.each([
    ['', '--vfio starts with an address such as 01:00.0, not ""'],
    [',bind', '--vfio starts with an address such as 01:00.0, not ",bind"'],
    ['disk', '"disk" is no PCI address: write it as 00:10.0 or 0000:00:10.0'],
    ['00:10', '"00:10" is no PCI address'],
    ['00:10.0,rom', '--vfio 00:10.0 has no option "rom": there are rom=off, rom=FILE and bind'],
    ['00:10.0,rom=', '--vfio 00:10.0 has no option "rom="'],
    ['00:10.0,bind=1', '--vfio 00:10.0 has no option "bind=1"'],
    ['00:10.0,', '--vfio 00:10.0 has no option ""'],
    ['00:10.0,bind,bind', '--vfio 00:10.0: bind is given twice'],
    ['nvme', '--vfio must be edu, nvme=FILE[,ro|rw] or e1000e[=ROMFILE], not "nvme"'],
    ['edu,bind', '--vfio must be edu, nvme=FILE[,ro|rw] or e1000e[=ROMFILE], not "edu,bind"'],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseVfio([text])).toThrow(BadInput)
    expect(() => parseVfio([text])).toThrow(message)
  })
})

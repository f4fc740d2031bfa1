import { describe, expect, it } from 'vitest'
import { parseRun } from '../../../src/cli/run-options.ts'

describe('parseRun', () => {
  it.each([
    { words: [], rootPorts: false, pciBridge: false, packedRings: false },
    { words: ['--packed'], rootPorts: false, pciBridge: false, packedRings: true },
    { words: ['--root-ports'], rootPorts: true, pciBridge: false, packedRings: false },
    { words: ['--pci-bridge'], rootPorts: false, pciBridge: true, packedRings: false },
  ])('takes $words for how devices are attached', ({ words, ...expected }) => {
    expect(parseRun(words)).toMatchObject(expected)
  })

  it('refuses root ports together with a bridge', () => {
    expect(() => parseRun(['--root-ports', '--pci-bridge'])).toThrow('leave one of them out')
  })

  it('takes where to write what the guest finds of firmware', () => {
    expect(parseRun([]).dump).toEqual({ deviceTree: undefined, acpi: undefined })
    expect(parseRun(['--dump-dtb', 'a.dtb', '--dump-acpi', 'tables']).dump).toEqual({
      deviceTree: 'a.dtb',
      acpi: 'tables',
    })
  })
})

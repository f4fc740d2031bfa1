import { describe, expect, it } from 'vitest'
import { pciClassName } from '../../../src/cli/pci-class.ts'

describe('pciClassName', () => {
  it.each([
    [0x010802, 'NVMe storage'],
    [0x018000, 'storage'],
    [0x020000, 'Ethernet'],
    [0x00ff00, 'unclassified'],
    [0xffff00, 'other'],
  ])('of %i is %s', (code, name) => {
    expect(pciClassName(code)).toBe(name)
  })
})

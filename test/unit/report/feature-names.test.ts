import { describe, expect, it } from 'vitest'
import { featureNames } from '../../../src/report/feature-names.ts'

describe('featureNames', () => {
  it.each([
    ['0x0', 'none'],
    ['0x130000077', 'INPUT_RANGE DOMAIN_RANGE MAP_UNMAP PROBE MMIO BYPASS_CONFIG INDIRECT_DESC EVENT_IDX VERSION_1'],
    ['0x8000000000000008', 'BYPASS bit 63'],
    ['<b>', '<b>'],
  ])('names %s', (mask, names) => expect(featureNames(mask)).toBe(names))
})

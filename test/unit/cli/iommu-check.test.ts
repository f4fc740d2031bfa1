import { describe, expect, it } from 'vitest'
import { findingLines, joinFindings, judgeFindings } from '../../../src/cli/iommu-check.ts'

const FINDING = {
  name: 'map-overlap',
  section: 'VIRTIO 1.2 §5.13.6.5.2',
  text: 'MAP of 0x1000-0x1fff meets the mapping 0x1000-0x2fff',
  bytes: '03000000',
  count: 1,
} as const

describe('findingLines', () => {
  it('has a line for each, with the rule, its section, the values and the bytes', () => {
    expect(findingLines([FINDING, { ...FINDING, name: 'bypass-value', bytes: '', count: 12 }])).toEqual([
      'iommu: map-overlap (VIRTIO 1.2 §5.13.6.5.2): MAP of 0x1000-0x1fff meets the mapping 0x1000-0x2fff [03000000]',
      'iommu: bypass-value (VIRTIO 1.2 §5.13.6.5.2), 12 times: MAP of 0x1000-0x1fff meets the mapping 0x1000-0x2fff',
    ])
  })
})

describe('joinFindings', () => {
  it('has each rule once, as it was first broken, with all its times', () => {
    const other = { ...FINDING, name: 'bypass-value' } as const
    const again = { ...FINDING, text: 'later', count: 3 }
    expect(joinFindings([FINDING], [other, again])).toEqual([{ ...FINDING, count: 4 }, other])
  })
})

describe('judgeFindings', () => {
  it('ends a good run with status 3', () => {
    const message = "the guest's driver of the IOMMU broke a rule of its specification"
    expect(judgeFindings({ status: 0 }, [FINDING])).toEqual({ status: 3, message })
  })

  it('says how many rules', () => {
    expect(judgeFindings({ status: 0 }, [FINDING, FINDING]).message).toContain('broke 2 rules')
  })

  it('leaves a run without findings as it is', () => {
    expect(judgeFindings({ status: 0 }, [])).toEqual({ status: 0 })
  })

  it('leaves another failure as it is', () => {
    const end = { status: 120, message: "the guest's kernel panicked" }
    expect(judgeFindings(end, [FINDING])).toBe(end)
  })
})

import { describe, expect, it, vi } from 'vitest'
import { IommuView } from '../../../src/machine/iommu-view.ts'

const LINES = '{"t":1,"type":"reset"}\n{"t":2,"type":"bypass"}\n{"t":3,"type":"reset"}\n'

describe('IommuView', () => {
  it('tells a handler no more once it took itself away', () => {
    const view = new IommuView(async () => null)
    const times: number[] = []
    const stop = view.onEvent(({ t }) => {
      times.push(t)
      stop()
    })
    view.trace.push(LINES)
    view.trace.push(LINES)
    expect([times, view.trace.isOn]).toEqual([[1], false])
  })

  it('goes on with the next event when a handler throws', () => {
    const later = vi.spyOn(globalThis, 'queueMicrotask').mockReturnValue()
    const view = new IommuView(async () => null)
    const times: number[] = []
    view.onEvent(({ t }) => {
      times.push(t)
      throw new Error(`at ${t}`)
    })
    view.trace.push(LINES)
    expect([times, later.mock.calls.length]).toEqual([[1, 2, 3], 3])
    later.mockRestore()
  })
})

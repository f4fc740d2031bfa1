import { describe, expect, it } from 'vitest'
import { SharedLine } from '../../../src/bus/interrupt-line.ts'

describe('SharedLine', () => {
  it('is high while any input is, and tells only changes', () => {
    const levels: boolean[] = []
    const shared = new SharedLine({ set: level => levels.push(level) })
    const first = shared.input()
    const second = shared.input()
    first.set(true)
    second.set(true)
    first.set(false)
    expect(levels).toEqual([true])
    second.set(false)
    expect(levels).toEqual([true, false])
  })

  it('counts an input once however often it says the same', () => {
    const levels: boolean[] = []
    const shared = new SharedLine({ set: level => levels.push(level) })
    const input = shared.input()
    input.set(true)
    input.set(true)
    input.set(false)
    input.set(false)
    expect(levels).toEqual([true, false])
  })
})

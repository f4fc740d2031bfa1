import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { IommuTrace } from '../../../src/machine/iommu-trace.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function bench() {
  const switched: boolean[] = []
  return { switched, trace: new IommuTrace(on => switched.push(on)) }
}

/** `count` lines with their numbers. */
function numbered(from: number, count: number): string {
  return Array.from({ length: count }, (_, index) => `${from + index}\n`).join('')
}

describe('IommuTrace', () => {
  it('passes lines to all sinks, and is on while there is one', () => {
    const { switched, trace } = bench()
    const got: string[] = []
    const removeFirst = trace.add(lines => got.push(`1 ${lines}`))
    const removeSecond = trace.add(lines => got.push(`2 ${lines}`))
    trace.push('a\n')
    removeFirst()
    trace.push('b\n')
    expect([got, switched, trace.isOn]).toEqual([['1 a\n', '2 a\n', '2 b\n'], [true], true])
    removeSecond()
    removeSecond()
    expect([switched, trace.isOn]).toEqual([[true, false], false])
  })

  it('passes lines to the others where one throws, which is an error of its own', () => {
    const later = vi.spyOn(globalThis, 'queueMicrotask').mockReturnValue()
    const { trace } = bench()
    const got: string[] = []
    trace.add(() => {
      throw new Error('the first one')
    })
    trace.add(lines => got.push(lines))
    trace.push('a\n')
    expect(got).toEqual(['a\n'])
    expect(() => later.mock.calls[0]?.[0]()).toThrow('the first one')
    later.mockRestore()
  })

  it('answers the first poll with the lines that come after it', async () => {
    const { switched, trace } = bench()
    trace.push('before\n')
    const answer = trace.poll()
    expect(switched).toEqual([true])
    trace.push('a\nb\n')
    expect(await answer).toEqual({ lines: ['a', 'b'], next: 2, lost: 0 })
  })

  it('goes on at the cursor, at once where there are lines', async () => {
    const { trace } = bench()
    const first = trace.poll()
    trace.push('a\n')
    const { next } = await first
    trace.push('b\nc\n')
    expect(await trace.poll(next)).toEqual({ lines: ['b', 'c'], next: 3, lost: 0 })
  })

  it('answers without lines after a second', async () => {
    const { trace } = bench()
    const answer = trace.poll()
    await vi.advanceTimersByTimeAsync(1000)
    expect(await answer).toEqual({ lines: [], next: 0, lost: 0 })
  })

  it('switches off 5 seconds after the last poll, and tells a late client that lines are missing', async () => {
    const { switched, trace } = bench()
    const first = trace.poll()
    trace.push('a\n')
    const { next } = await first
    await vi.advanceTimersByTimeAsync(4999)
    expect(switched).toEqual([true])
    await vi.advanceTimersByTimeAsync(1)
    expect(switched).toEqual([true, false])
    const late = trace.poll(next)
    expect(switched).toEqual([true, false, true])
    expect(await late).toEqual({ lines: [], next: 2, lost: 1 })
  })

  it('stays on while somebody polls', async () => {
    const { switched, trace } = bench()
    void trace.poll()
    await vi.advanceTimersByTimeAsync(4000)
    void trace.poll(0)
    await vi.advanceTimersByTimeAsync(4000)
    expect(switched).toEqual([true])
  })

  it('keeps the last 65536 lines, and says how many a slow client lost', async () => {
    const { trace } = bench()
    const first = trace.poll()
    trace.push(numbered(0, 1))
    const { next } = await first
    trace.push(numbered(1, 65_546))
    const answer = await trace.poll(next)
    expect([answer.lost, answer.lines[0], answer.lines.length]).toEqual([10, '11', 1024])
    expect(answer.next).toBe(11 + 1024)
  })

  it('gives many lines in several answers', async () => {
    const { trace } = bench()
    const first = trace.poll()
    trace.push(numbered(0, 2500))
    const one = await first
    const two = await trace.poll(one.next)
    const three = await trace.poll(two.next)
    expect([...one.lines, ...two.lines, ...three.lines].join('\n')).toBe(numbered(0, 2500).trimEnd())
    expect(three.next).toBe(2500)
  })

  it('answers who waits when the guest ends, and does not wait from then on', async () => {
    const { trace } = bench()
    const answer = trace.poll()
    trace.push('last\n')
    trace.end()
    expect(await answer).toEqual({ lines: ['last'], next: 1, lost: 0 })
    expect(await trace.poll(1)).toEqual({ lines: [], next: 1, lost: 0 })
    expect(vi.getTimerCount()).toBe(0)
  })

  it('takes a cursor of the machine before', async () => {
    const { trace } = bench()
    const answer = trace.poll(1_000_000)
    trace.push('a\n')
    expect(await answer).toEqual({ lines: ['a'], next: 1, lost: 0 })
  })
})

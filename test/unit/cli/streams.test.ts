import { describe, expect, it } from 'vitest'
import { Tail } from '../../../src/cli/streams.ts'

const tailOf = (text: string, limit?: number) => {
  const tail = limit === undefined ? new Tail() : new Tail(limit)
  for (const character of text) tail.push(new TextEncoder().encode(character))
  return tail
}
const NEVER = /^never$/

describe('Tail', () => {
  it('remembers at least its limit of what came last, and not much more', () => {
    expect(tailOf('0123456789', 4).text).toBe('6789')
  })

  it('gives the last lines that are not empty', () => {
    expect(tailOf('a\r\nb\r\n\r\n  \nc\n').lines(2, NEVER)).toEqual(['b', 'c'])
    expect(tailOf('a\nb').lines(5, NEVER)).toEqual(['a', 'b'])
  })

  it('begins at a line that matches when the last lines would leave it out', () => {
    expect(tailOf('a\nstart\nb\nc\nd\n').lines(3, /^start/)).toEqual(['start', 'b', 'c'])
    expect(tailOf('a\nb\nstart\nc\n').lines(3, /^start/)).toEqual(['b', 'start', 'c'])
  })
})

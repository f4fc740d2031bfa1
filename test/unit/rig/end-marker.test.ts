import { describe, expect, it } from 'vitest'
import { EndMarker } from '../../../src/rig/end-marker.ts'

const MARKER = 'abcabd\n'

/** What comes out when `text` arrives in pieces of `size` bytes. */
function collect(text: string, size: number) {
  const end = new EndMarker(Buffer.from(MARKER))
  const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []
  const output = pieces.map(piece => Buffer.from(end.push(Buffer.from(piece))).toString()).join('')
  return { output, found: end.found, rest: Buffer.from(end.rest()).toString() }
}

describe('EndMarker', () => {
  it.each([1, 2, 3, 5, 7, 100])('cuts at the marker when it arrives %i bytes at a time', size => {
    expect(collect(`output\n${MARKER}`, size)).toEqual({ output: 'output\n', found: true, rest: '' })
  })

  it.each([1, 2, 4, 100])('finds the marker behind its own false start, %i bytes at a time', size => {
    expect(collect(`abc${MARKER}`, size)).toEqual({ output: 'abc', found: true, rest: '' })
  })

  it.each([1, 2, 4, 100])('passes what only looks like the start of the marker, %i bytes at a time', size => {
    expect(collect(`abcabxabca\n${MARKER}`, size)).toEqual({ output: 'abcabxabca\n', found: true, rest: '' })
  })

  it('drops what follows the marker', () => {
    expect(collect(`x${MARKER}late`, 100)).toEqual({ output: 'x', found: true, rest: '' })
  })

  it('gives output at once when it cannot be the start of the marker', () => {
    expect(Buffer.from(new EndMarker(Buffer.from(MARKER)).push(Buffer.from('prompt$ '))).toString()).toBe('prompt$ ')
  })

  it('keeps a partial marker for a stream that ends without one', () => {
    expect(collect('xabc', 100)).toEqual({ output: 'x', found: false, rest: 'abc' })
  })
})

import { describe, expect, it } from 'vitest'
import { StdinEncoder } from '../../../src/guest/stdin-encoder.ts'

const EOF = 0x04
const LNEXT = 0x16

/** What a tty in canonical mode hands to its reader: pieces of input, an empty one for its end; the longest line. */
function readTty(bytes: Uint8Array) {
  const reads: number[][] = []
  let line: number[] = []
  let longest = 0
  let literal: boolean = false
  for (const byte of bytes) {
    const special: boolean = !literal && (byte === EOF || byte === LNEXT)
    literal = special && byte === LNEXT
    line.push(...(special ? [] : [byte]))
    longest = Math.max(longest, line.length)
    const ends = (special && byte === EOF) || (!special && byte === 0x0a)
    reads.push(...(ends ? [line] : []))
    line = ends ? [] : line
  }
  return { reads, longest, left: line }
}

/** Encodes `chunks`, then the end, and reads them back as the guest does. */
function transfer(chunks: readonly Uint8Array[]) {
  const encoder = new StdinEncoder()
  const sent = [...chunks.map(chunk => encoder.encode(chunk)), encoder.end()]
  return readTty(Uint8Array.from(sent.flatMap(bytes => [...bytes])))
}

const text = (value: string) => new TextEncoder().encode(value)
const allBytes = Uint8Array.from({ length: 256 * 9 }, (_, index) => (index * 167 + (index >> 8)) & 0xff)

describe('StdinEncoder', () => {
  it.each([
    ['no chunk', []],
    ['an empty chunk', [text('')]],
    ['a line', [text('a\n')]],
    ['an unfinished line', [text('a\nb')]],
    ['a chunk that ends right after a newline', [text('a\n'), text('b\n')]],
    ['a chunk that ends within a line', [text('a'), text('b'), text('\n'), text('')]],
    ['exactly one full line', [new Uint8Array(1024)]],
    ['a newline after a full line', [new Uint8Array(1024), text('\n')]],
    ['a full line and its newline in one chunk', [new Uint8Array(1025).fill(0x0a, 1024)]],
    ['only special bytes', [new Uint8Array(5000).fill(EOF), new Uint8Array(5000).fill(LNEXT)]],
    ['every byte', [allBytes]],
    ['every byte in small chunks', Array.from({ length: 768 }, (_, i) => allBytes.subarray(i * 3, i * 3 + 3))],
  ])('carries %s unchanged and ends the input once, last', (_name, chunks) => {
    const { reads, left } = transfer(chunks)

    expect(reads.flat()).toEqual(chunks.flatMap(chunk => [...chunk]))
    expect(reads.map(read => read.length).indexOf(0)).toBe(reads.length - 1)
    expect(left).toEqual([])
  })

  it('never makes a line that the tty would cut', () => {
    expect(transfer([new Uint8Array(100_000)]).longest).toBeLessThan(4096)
  })

  it('hands over an unfinished line with its chunk', () => {
    expect([...new StdinEncoder().encode(text('name? '))]).toEqual([...text('name? '), EOF])
  })
})

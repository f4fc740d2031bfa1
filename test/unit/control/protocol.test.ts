import { describe, expect, it } from 'vitest'
import { LineSplitter, parseAnswer, parseRequest } from '../../../src/control/protocol.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('LineSplitter', () => {
  it('puts lines together from pieces, multi-byte characters included', () => {
    const lines: string[] = []
    const splitter = new LineSplitter(line => lines.push(line))
    for (const byte of bytes('erste\nzweite für\n\ndritte')) splitter.push(new Uint8Array([byte]))
    expect(lines).toEqual(['erste', 'zweite für'])
    splitter.push(bytes('\n'))
    expect(lines).toEqual(['erste', 'zweite für', 'dritte'])
  })

  it('takes several lines at once', () => {
    const lines: string[] = []
    new LineSplitter(line => lines.push(line)).push(bytes('a\nb\nc\n'))
    expect(lines).toEqual(['a', 'b', 'c'])
  })

  it('says when a line grows beyond any request', () => {
    const splitter = new LineSplitter(() => {})
    const piece = new Uint8Array(2 ** 19).fill(0x61)
    expect([splitter.push(piece), splitter.push(piece), splitter.push(piece)]).toEqual([true, true, false])
  })
})

describe('parseRequest', () => {
  it.each([
    ['{"id":1,"method":"stat"}', { id: 1, method: 'stat', params: {} }],
    ['{"id":2,"method":"nmi","params":{"vcpu":3}}', { id: 2, method: 'nmi', params: { vcpu: 3 } }],
    ['{"id":3,"method":"stat","params":[1]}', { id: 3, method: 'stat', params: {} }],
    ['{"id":4,"method":"stat","params":null}', { id: 4, method: 'stat', params: {} }],
  ])('reads %s', (line, request) => {
    expect(parseRequest(line)).toEqual(request)
  })

  it.each([
    '',
    'GET / HTTP/1.1',
    '{',
    '[]',
    'null',
    '7',
    '{"id":"1","method":"stat"}',
    '{"id":1}',
    '{"method":"stat"}',
  ])('takes %j for no request', line => {
    expect(parseRequest(line)).toBeUndefined()
  })
})

describe('parseAnswer', () => {
  it.each([
    ['{"id":1,"result":{"a":1}}', { id: 1, result: { a: 1 } }],
    ['{"id":1,"result":null}', { id: 1, result: null }],
    ['{"id":1}', { id: 1, result: undefined }],
    ['{"id":1,"error":"no"}', { id: 1, error: 'no' }],
  ])('reads %s', (line, answer) => {
    expect(parseAnswer(line)).toEqual(answer)
  })

  it.each(['', '{}', '{"id":"x","result":1}', 'nonsense'])('takes %j for no answer', line => {
    expect(parseAnswer(line)).toBeUndefined()
  })
})

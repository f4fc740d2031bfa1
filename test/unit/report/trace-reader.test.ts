import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import type { IommuEvent } from '../../../src/iommu/events.ts'
import { TraceReader } from '../../../src/report/trace-reader.ts'
import { TraceScript } from '../../support/trace-script.ts'

const SCRIPT = new TraceScript()
  .start([{ id: 8, name: 'dïsk0' }])
  .at(1)
  .attach(8, 1)
  .map(1, 0x1000, 0x1000)
  .fault(0x5000)
  .add({ type: 'reset' })
  .add({ type: 'features', value: '0x77' })
  .add({ type: 'drop', endpoint: 8, address: '0x5000', cause: 'no buffer' })
  .add({ type: 'finding', name: 'map-overlap', section: 'VIRTIO 1.2 §5.13.6.5.1', text: 'twice', bytes: '' })
  .add({
    type: 'invalidation',
    cause: 'UNMAP',
    domain: 1,
    start: '0x0',
    end: '0xffffffffffffffff',
    mappings: 1,
    endpoints: [8],
    waitedUs: 0.5,
  })

function read(text: string, chunk = text.length): { events: readonly IommuEvent[]; reader: TraceReader } {
  const events: IommuEvent[] = []
  const reader = new TraceReader('trace.jsonl', event => events.push(event))
  const bytes = new TextEncoder().encode(text)
  const pieces = Array.from({ length: Math.ceil(bytes.length / chunk) }, (_, at) =>
    bytes.subarray(at * chunk, (at + 1) * chunk),
  )
  for (const piece of pieces) reader.push(piece)
  reader.end()
  return { events, reader }
}

describe('TraceReader', () => {
  it.each([1, 2, 3, 7, 100, 100_000])('reads all events from pieces of %i bytes', size => {
    const { events, reader } = read(SCRIPT.lines, size)
    expect(events).toEqual(SCRIPT.events)
    expect(reader.lines).toBe(SCRIPT.events.length)
    expect(reader.isTruncated).toBe(false)
  })

  it('takes a last line without its end', () => {
    const { events, reader } = read(SCRIPT.lines.trimEnd())
    expect(events).toEqual(SCRIPT.events)
    expect(reader.isTruncated).toBe(false)
  })

  it('leaves out a last line that is cut off', () => {
    const { events, reader } = read(SCRIPT.lines.slice(0, -20))
    expect(events).toEqual(SCRIPT.events.slice(0, -1))
    expect(reader.isTruncated).toBe(true)
  })

  it.each([
    ['no JSON', 'hello'],
    ['an empty line', ''],
    ['a number', '17'],
    ['null', 'null'],
    ['an array', '[]'],
    ['no time', '{"type":"reset"}'],
    ['a time that is no number', '{"t":"1","type":"reset"}'],
    ['an endless time', '{"t":1e999,"type":"reset"}'],
    ['an endless value', '{"t":1,"type":"reply","seq":1,"status":"OK","written":4,"us":1e999}'],
    ['an unknown type', '{"t":1,"type":"constructor"}'],
    ['a request without its number', '{"t":1,"type":"request","request":"MAP","bytes":""}'],
    ['an address in decimal', '{"t":1,"type":"drop","endpoint":8,"address":"4096","cause":"x"}'],
    ['an address above 64 bits', '{"t":1,"type":"drop","endpoint":8,"address":"0x10000000000000000","cause":"x"}'],
    ['a status that is no text', '{"t":1,"type":"reply","seq":1,"status":0,"written":4,"us":1}'],
    [
      'endpoints that are none',
      '{"t":1,"type":"start","version":1,"granule":1,"input":["0x0","0x1"],"domains":[0,1],"bypass":true,"endpoints":[1]}',
    ],
  ])('refuses a line with %s, and says which', (_, line) => {
    const text = `${SCRIPT.lines}${line}\n${SCRIPT.lines}`
    const number = SCRIPT.events.length + 1
    expect(() => read(text)).toThrow(
      new BadInput(`trace.jsonl: line ${number} is no line of an IOMMU trace: make one with run --iommu-trace FILE`),
    )
  })

  it('refuses an empty trace', () => {
    expect(() => read('')).toThrow(new BadInput('trace.jsonl is empty: it has no line of an IOMMU trace'))
  })

  it('refuses a file that is no text, without keeping all of it as one line', () => {
    const reader = new TraceReader('trace.jsonl', () => {})
    const piece = new TextEncoder().encode('x'.repeat(1 << 19))
    reader.push(piece)
    reader.push(piece)
    expect(() => reader.push(piece)).toThrow(/line 1 is no line/)
  })

  it('refuses the trace of a newer version', () => {
    const text = SCRIPT.lines.replace('"version":1', '"version":2')
    expect(() => read(text)).toThrow(
      new BadInput('trace.jsonl is an IOMMU trace of format 2: use the bulkhead that made it'),
    )
  })
})

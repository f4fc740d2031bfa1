import { describe, expect, it } from 'vitest'
import { LineText } from '../../../src/report/line-text.ts'
import { TraceScript } from '../../support/trace-script.ts'

function lines(script: TraceScript): readonly string[] {
  const format = new LineText()
  return script.events.map(event => format.line(event))
}

describe('LineText', () => {
  it('makes a line of each kind of event', () => {
    const script = new TraceScript().start().at(1.25).attach(8, 1).map(1, 0x1000, 0x1000, 1)
    script.fault(0x5000, 'write', { domain: 1 }).add({ type: 'bypass', value: '0' }).add({ type: 'reset' })
    script.add({ type: 'drop', endpoint: 16, address: '0x5000', cause: 'no buffer' })
    script.add({ type: 'finding', name: 'map-overlap', section: 'VIRTIO 1.2 §5.13.6.5.1', text: 'twice', bytes: '' })
    const range = { start: '0x0', end: '0xfff', mappings: 1 }
    script.add({ type: 'invalidation', cause: 'UNMAP', domain: 1, ...range, endpoints: [8, 99], waitedUs: 7 })
    script.add({ type: 'invalidation', cause: 'reset', ...range, endpoints: [], waitedUs: 0 })
    expect(lines(script)).toEqual([
      '       0.000  start    granule 4096, input 0x0-0xffffffffffff, bypass on, disk0 net0',
      '       1.250  ATTACH   #1 domain 1 disk0',
      '       1.250  reply    #1 OK in 1 us',
      '       1.250  MAP      #2 domain 1 0x1000-0x1fff -> 0x1001000 r-',
      '       1.250  reply    #2 OK in 1 us',
      '       1.250  FAULT    disk0: write at 0x5000 in domain 1 (mapping)',
      '       1.250  bypass   0',
      '       1.250  reset',
      '       1.250  drop     fault of net0 at 0x5000: no buffer',
      '       1.250  BREACH   map-overlap (VIRTIO 1.2 §5.13.6.5.1): twice',
      '       1.250  gone     by UNMAP: domain 1 0x0-0xfff, mappings 1, kept by disk0 endpoint 0x63, waited 7 us',
      '       1.250  gone     by reset: 0x0-0xfff, mappings 1',
    ])
  })

  it('says what the host told and refused', () => {
    const fault = {
      type: 'fault',
      endpoint: 8,
      name: 'nic',
      reason: 'mapping',
      access: 'write',
      address: '0x5000',
    } as const
    const script = new TraceScript()
      .add({ ...fault, source: 'host', detail: 'not set' })
      .add({ ...fault, source: 'host' })
    script.add({ type: 'backend', name: 'group 7', refused: 'MAP', outcome: 'noMemory', error: 'ENOSPC' })
    script.add({ type: 'backend', name: 'group 7', refused: 'ATTACH', outcome: 'deviceError' })
    expect(lines(script)).toEqual([
      '       0.000  FAULT    nic: write at 0x5000 (mapping), the host says: not set',
      '       0.000  FAULT    nic: write at 0x5000 (mapping), the host says so',
      '       0.000  HOST     group 7 refuses MAP: noMemory (ENOSPC)',
      '       0.000  HOST     group 7 refuses ATTACH: deviceError',
    ])
  })

  it('knows names of endpoints that it was told before', () => {
    const [attach] = new TraceScript().attach(8, 1).events
    expect(attach && new LineText([[8, 'disk0']]).line(attach)).toBe('       0.000  ATTACH   #1 domain 1 disk0')
  })

  it('shows flags that have no name, and a reply without a status', () => {
    const script = new TraceScript().request('MAP', { flags: 0x80 }).request('ATTACH', { flags: 1 })
    const [map, , attach] = lines(script.asked('0x12', {}).add({ type: 'reply', seq: 3, written: 0, us: 1 }))
    expect([map, attach]).toEqual(['       0.000  MAP      #1 flags 0x80', '       0.000  ATTACH   #2 flags 0x1'])
    expect(lines(script).at(-1)).toBe('       0.000  reply    #3 without a status in 1 us')
  })

  it('moves no cursor', () => {
    const script = new TraceScript().add({ type: 'features', value: '\u001b[2J\nx' })
    expect(lines(script)).toEqual(['       0.000  features ?[2J?x'])
  })
})

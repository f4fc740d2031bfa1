import { describe, expect, it } from 'vitest'
import { ReportBuilder } from '../../../src/report/report-builder.ts'
import { TraceScript } from '../../support/trace-script.ts'

/** Cause and sentence of the script's only fault. */
function causeOf(script: TraceScript): readonly [string | undefined, string | undefined] {
  const builder = new ReportBuilder()
  for (const event of script.events) builder.add(event)
  const [fault] = builder.finish({ name: 'trace', lines: 1, isTruncated: false }).report.faults
  return [fault?.cause, fault?.examples[0]?.text]
}

const script = () => new TraceScript().start().attach(8, 1)
const IN_1 = { domain: 1 }

describe('faultCause', () => {
  it.each([
    [
      'a mapping that was removed',
      script().map(1, 0x4000, 0x1000).at(2).unmap(1, 0x4000, 0x1000).at(2.012).fault(0x4010, 'write', IN_1),
      ['use after unmap', 'inside 0x4000-0x4fff (rw, MAP #2), which was unmapped 12 us before'],
    ],
    [
      'a mapping whose UNMAP waits',
      script()
        .map(1, 0x4000, 0x1000)
        .at(2)
        .asked('UNMAP', { domain: 1, start: 0x4000, end: 0x4fff })
        .fault(0x4010, 'read', IN_1),
      ['use during unmap', 'while UNMAP #3 took the mapping away'],
    ],
    [
      'a mapping for reading, by a write',
      script().map(1, 0x4000, 0x1000, 1).fault(0x4000, 'write', IN_1),
      ['no right to do so', 'write inside 0x4000-0x4fff (r-, MAP #2)'],
    ],
    [
      'a mapping for reading, by both',
      script().map(1, 0x4000, 0x1000, 1).fault(0x4000, 'read+write', IN_1),
      ['no right to do so', 'read+write inside 0x4000-0x4fff (r-, MAP #2)'],
    ],
    [
      'a mapping that leads nowhere',
      script().map(1, 0x4000, 0x1000).fault(0x4000, 'read', { domain: 1, reason: 'unknown' }),
      ['mapped to no memory', 'inside 0x4000-0x4fff (rw, MAP #2), which leads to no memory'],
    ],
    [
      'the first byte behind a mapping',
      script().map(1, 0x4000, 0x1000).fault(0x5000, 'read', IN_1),
      ['behind a mapping', 'right behind the end of 0x4000-0x4fff (rw, MAP #2)'],
    ],
    [
      'a page behind a mapping',
      script().map(1, 0x4000, 0x1000).map(1, 0x9000, 0x1000).fault(0x6000, 'read', IN_1),
      ['behind a mapping', '4 KiB behind the end of 0x4000-0x4fff (rw, MAP #2)'],
    ],
    [
      'bytes in front of a mapping',
      script().map(1, 0x4000, 0x1000).fault(0x3ff8, 'read', IN_1),
      ['in front of a mapping', '7 B in front of 0x4000-0x4fff (rw, MAP #2)'],
    ],
    [
      'bytes behind one that was removed',
      script().map(1, 0x4000, 0x1000).at(1).unmap(1, 0x4000, 0x1000).at(3).fault(0x5008, 'read', IN_1),
      ['behind a mapping', '8 B behind the end of 0x4000-0x4fff (rw, MAP #2), which was unmapped 2 ms before'],
    ],
    [
      'an address far from all',
      script().map(1, 0x4000, 0x1000).fault(0x4000_0000, 'read', IN_1),
      ['nothing mapped near', 'no mapping is near, and none was'],
    ],
    [
      'an endpoint that was never attached',
      new TraceScript().start().fault(0x4000, 'read', { reason: 'domain' }),
      ['endpoint in no domain', 'the endpoint was not attached to a domain yet'],
    ],
    [
      'an endpoint that was detached',
      script().at(2).detach(8, 1).at(5).fault(0x4000, 'read', { reason: 'domain' }),
      ['endpoint in no domain', 'it was detached 3 ms before'],
    ],
    [
      'an endpoint after a reset',
      script().at(2).add({ type: 'reset' }).at(2.5).fault(0x4000, 'read', { reason: 'domain' }),
      ['endpoint in no domain', 'a reset detached it 500 us before'],
    ],
    [
      'the region for MSIs',
      new TraceScript()
        .start([{ id: 8, name: 'disk0', reserved: [{ kind: 'msi', start: '0xfee00000', end: '0xfeefffff' }] }])
        .attach(8, 1)
        .fault(0xfee0_0000, 'read', IN_1),
      ['reserved region', 'inside the region for MSIs 0xfee00000-0xfeefffff'],
    ],
    [
      'a mapping that a change of domains removed',
      script().map(1, 0x4000, 0x1000).attach(16, 1).at(1).attach(8, 2).attach(16, 2).at(2).fault(0x4000, 'read', IN_1),
      ['use after unmap', 'inside 0x4000-0x4fff (rw, MAP #2), which ATTACH removed 1 ms before'],
    ],
  ] as const)('explains an access to %s', (_, trace, cause) => expect(causeOf(trace)).toEqual(cause))
})

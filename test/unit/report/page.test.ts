import { describe, expect, it } from 'vitest'
import { reportPage } from '../../../src/report/page.ts'
import { type BuiltReport, ReportBuilder } from '../../../src/report/report-builder.ts'
import { reportText } from '../../../src/report/summary-text.ts'
import { markupFaults, outsideReferences } from '../../support/markup.ts'
import { repeat } from '../../support/repeat.ts'
import { TraceScript } from '../../support/trace-script.ts'

const EVIL = `"><script>alert('x')</script>&amp;\u001b[2J\n`

function build(script: TraceScript, name = 'trace.jsonl'): BuiltReport {
  const builder = new ReportBuilder()
  for (const event of script.events) builder.add(event)
  return builder.finish({ name, lines: script.events.length, isTruncated: false })
}

/** Something of everything. */
function full(word = 'word'): TraceScript {
  const script = new TraceScript().start([{ id: 8, name: word }])
  script.at(1).attach(8, 1).map(1, 0x1000, 0x1000).map(1, 0x10_0000_0000, 0x4000, 5)
  script
    .at(2)
    .unmap(1, 0x1000, 0x1000)
    .fault(0x1000, word, { domain: 1 })
    .fault(0x8000_0000_0000, 'read', { domain: 1 })
  script.fault(0x0, 'read', { domain: 1 }).fault(0x6000, 'read', { domain: 1 }).fault(0x7000, 'read', { domain: 1 })
  script.at(3).request(word, { domain: 1 }, word).add({ type: 'features', value: word })
  script.add({ type: 'finding', name: word, section: word, text: word, bytes: word })
  script.add({ type: 'drop', endpoint: 8, address: '0x0', cause: word }).add({ type: 'reset' }).at(4).attach(8, 2)
  const range = { domain: 2, start: '0x0', end: '0xfff', mappings: 1, endpoints: [8, 99] }
  return script.add({ type: 'invalidation', cause: word as 'UNMAP', ...range, waitedUs: 3 })
}

/** So many mappings that they are drawn as coverage. */
function many(): TraceScript {
  const script = new TraceScript().start().attach(8, 1)
  for (let count = 0; count < 20_000; count++) {
    const start = (count % 7000) * 0x2000
    script
      .at(count * 0.01)
      .unmap(1, start, 0x2000)
      .map(1, start, 0x1000, 1 + (count % 3))
  }
  return script
}

describe('reportPage', () => {
  it.each([
    ['something of everything', full()],
    ['nothing', new TraceScript().start()],
    ['one line in the middle of a run', new TraceScript().at(5).add({ type: 'reset' })],
    ['many mappings', many()],
  ])('is one page in good order, with nothing to fetch, of a trace of %s', (_, script) => {
    const page = reportPage(build(script))
    expect(markupFaults(page)).toEqual([])
    expect(outsideReferences(page)).toEqual([])
    expect(page).not.toMatch(/NaN|undefined|Infinity|\[object/)
    expect(page.length).toBeLessThan(3 << 20)
  })

  it('has no markup that came with the trace', () => {
    const page = reportPage(build(full(EVIL), EVIL))
    const plain = reportPage(build(full()))
    expect(markupFaults(page)).toEqual([])
    expect(page.match(/<script>/g)).toEqual(plain.match(/<script>/g))
    expect(page).toContain('&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;amp;')
    expect(page).not.toContain('\u001b')
  })

  it('draws each of a few mappings, and says what it was', () => {
    const page = reportPage(build(full()))
    expect(page).toContain('0x1000-0x1fff to 0x1001000 (4 KiB, rw, MAP #2) mapped at 1 ms for 1 ms, until UNMAP')
    expect(page).toContain('64 GiB never mapped')
    expect(page).toContain('class="r3"')
    expect(page).toContain('inside 0x1000-0x1fff (rw, MAP #2), which was unmapped 0 s before')
  })

  it('draws many mappings as one picture', () => {
    const page = reportPage(build(many()))
    expect(page.match(/<image /g)).toHaveLength(1)
    expect(page).not.toContain('class="r2"><title>')
  })

  it('says that all is well when it is', () => {
    const script = new TraceScript().start().attach(8, 1).map(1, 0, 0x1000).unmap(1, 0, 0x1000)
    expect(reportPage(build(script))).toContain('Nothing wants attention')
    expect(reportPage(build(full()))).not.toContain('Nothing wants attention')
  })

  it('draws the busiest domains only when there are very many', () => {
    const script = new TraceScript().start()
    repeat(200, domain => script.attach(domain, domain).map(domain, 0x1000, 0x1000))
    expect(reportPage(build(script)).match(/<figure class="picture"/g)).toHaveLength(16)
  })
})

describe('reportText', () => {
  it.each([
    ['something of everything', full()],
    ['nothing', new TraceScript().start()],
    ['many mappings', many()],
  ])('has at most 60 lines of a trace of %s', (_, script) => {
    const text = reportText(build(script).report)
    expect(text.split('\n').length).toBeLessThanOrEqual(61)
    expect(text).not.toMatch(/NaN|undefined|Infinity|\[object|[^\S\n]$/m)
  })

  it('has no table of requests where there were none', () => {
    expect(reportText(build(new TraceScript().start()).report).split('\n')).toHaveLength(3)
  })

  it('has at most 60 lines where everything has many rows', () => {
    const script = full()
    repeat(50, index => {
      const word = `word${index}`
      script.add({ type: 'finding', name: word, section: 's', text: 't', bytes: '' }).request(word, {}, 'UNSUPP')
      script.attach(index + 100, index + 100).map(index + 100, 0x1000, 0x1000 * (index + 1))
      script.fault(0x1000, word, { domain: 1 })
      script.add({
        type: 'invalidation',
        cause: 'UNMAP',
        start: '0x0',
        end: '0x1',
        mappings: 1,
        endpoints: [],
        waitedUs: 1,
      })
    })
    const lines = reportText(build(script).report).split('\n')
    expect(lines.length).toBeLessThanOrEqual(61)
    expect(lines.filter(line => /^ {2}and [0-9]+ more$/.test(line)).length).toBeGreaterThan(4)
    expect(lines.find(line => line.includes('waited  '))).toBeDefined()
  })

  it('moves no cursor, whatever the trace holds', () => {
    const text = reportText(build(full(EVIL), EVIL).report)
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  })

  it('tells the facts of the page in columns', () => {
    const lines = reportText(build(full()).report).split('\n')
    expect(lines).toContain('  ! 5 accesses refused, 1 of them after UNMAP')
    expect(lines).toContain('requests  count  failed  mean  50 %  90 %  99 %  longest')
    expect(lines).toContain('MAP           2       0  1 us  1 us  1 us  1 us     1 us')
  })
})

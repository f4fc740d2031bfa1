import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Report } from '../../../src/report/report.ts'
import { Place } from '../../support/bulkhead.ts'
import { refusalWith, tryCommand } from '../../support/refusal.ts'
import { TraceScript } from '../../support/trace-script.ts'

const refuses = async (args: readonly string[], phrase: string) =>
  expect(await tryCommand(['iommu', ...args])).toEqual(refusalWith(phrase))

describe('bulkhead iommu', () => {
  it.each([
    [[], 'iommu does one of list, stat, dump, trace, fault, report'],
    [['constructor', 'x'], 'iommu does one of'],
    [['list'], 'iommu list needs the name of one instance'],
    [['list', 'a', 'b'], 'iommu list needs the name of one instance'],
    [['report'], 'iommu report needs the file of a trace'],
    [['list', 'a', '--html', 'x'], 'iommu list has no option --html'],
    [['report', 'a', '--domain', '1'], 'iommu report has no option --domain'],
    [['list', 'nobody'], 'no instance called "nobody" runs'],
    [['trace', 'nobody'], 'no instance called "nobody" runs'],
    [['stat', 'no/body'], '"no/body" is no instance name'],
    [['dump', 'nobody', '--domain', '-1'], '--domain'],
    [['dump', 'nobody', '--domain=4294967296'], '--domain must be a whole number from 0 to 4294967295'],
    [['fault', 'nobody', '--endpoint', 'disk0'], 'iommu fault needs --endpoint and --address'],
    [['fault', 'nobody', '--endpoint', 'disk0', '--address', 'x'], '--address must be a number below 2^53'],
    [['fault', 'nobody', '--endpoint', 'disk0', '--address', '0x20000000000000'], '--address must be a number'],
    [['fault', 'nobody', '--endpoint', 'd', '--address', '1', '--reason', 'x'], '--reason must be one of mapping'],
    [['fault', 'nobody', '--endpoint', 'd', '--address', '1', '--access', 'x'], '--access must be one of read, write'],
    [['report', '/nowhere/trace'], 'cannot read the trace /nowhere/trace (ENOENT)'],
    [['report', '/'], 'cannot read the trace / (EISDIR)'],
    [['report', '/dev/null'], '/dev/null is empty'],
    [['report', '/proc/self/status'], 'line 1 is no line of an IOMMU trace'],
  ])('refuses %j', refuses)
})

describe('bulkhead iommu report', () => {
  const SCRIPT = new TraceScript().start().attach(8, 1).map(1, 0x1000, 0x1000)

  async function report(text: string, words: readonly string[]) {
    using place = new Place({ ownCache: true })
    const file = join(place.root, 'trace.jsonl')
    writeFileSync(file, text)
    // Awaited, as the place goes with the end of the block.
    return await place.bulkhead(['iommu', 'report', file, ...words])
  }

  it('prints the facts of a trace', async () => {
    const { status, stdout, stderr } = await report(SCRIPT.lines, [])
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain('1 mapping (4 KiB) never removed')
  })

  it('prints them for programs', async () => {
    const { status, stdout } = await report(SCRIPT.lines, ['--json'])
    expect([status, (JSON.parse(stdout) as Report).leakedBytes]).toEqual([0, 0x1000])
  })

  it('says that the last line is cut off', async () => {
    const { status, stdout } = await report(`${SCRIPT.lines}{"t":`, [])
    expect([status, stdout]).toEqual([0, expect.stringContaining('the last line is cut off')])
  })

  it('refuses to write the page over the trace', async () => {
    using place = new Place({ ownCache: true })
    const file = join(place.root, 'trace.jsonl')
    writeFileSync(file, SCRIPT.lines)
    const { status, stderr } = await place.bulkhead(['iommu', 'report', file, '--html', file])
    expect([status, stderr]).toEqual([2, expect.stringContaining('is the trace itself')])
  })

  it('writes the page', async () => {
    using place = new Place({ ownCache: true })
    const [file, page] = [join(place.root, 'trace.jsonl'), join(place.root, 'page.html')]
    writeFileSync(file, SCRIPT.lines)
    const { status } = await place.bulkhead(['iommu', 'report', file, '--html', page])
    expect([status, readFileSync(page, 'utf8')]).toEqual([
      0,
      expect.stringMatching(/^<!doctype html>[\s\S]*<\/html>\n$/),
    ])
  })

  it('says where it cannot write', async () => {
    const { status, stderr } = await report(SCRIPT.lines, ['--html', '/nowhere/page.html'])
    expect([status, stderr]).toEqual([
      2,
      'bulkhead: cannot write the page /nowhere/page.html (ENOENT): check its path\n',
    ])
  })
})

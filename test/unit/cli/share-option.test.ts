import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { parseShare } from '../../../src/cli/share-option.ts'

const TOP = mkdtempSync(join(tmpdir(), 'share-option-'))
const PLAIN = join(TOP, 'plain')
const COMMA = join(TOP, 'with,comma')
const LONG = join(TOP, 'x'.repeat(40))
const FILE = join(TOP, 'file')
mkdirSync(PLAIN)
mkdirSync(COMMA)
mkdirSync(LONG)
writeFileSync(FILE, '')

afterAll(() => rmSync(TOP, { recursive: true }))

describe('parseShare', () => {
  it.each([
    ['a folder with its name as the tag', PLAIN, { path: PLAIN, tag: 'plain' }],
    ['a tag', `${PLAIN},data`, { path: PLAIN, tag: 'data' }],
    ['a read-only folder', `${PLAIN},ro`, { path: PLAIN, tag: 'plain', readOnly: true }],
    ['a tag and read-only', `${PLAIN},data,ro`, { path: PLAIN, tag: 'data', readOnly: true }],
    ['a comma in the path', `${COMMA},data`, { path: COMMA, tag: 'data' }],
    ['a slash at the end', `${PLAIN}/,data`, { path: PLAIN, tag: 'data' }],
    ['a relative path', relative(process.cwd(), PLAIN), { path: PLAIN, tag: 'plain' }],
    ['the root', '/,root', { path: '/', tag: 'root' }],
    ['36 bytes', `${PLAIN},${'ä'.repeat(18)}`, { path: PLAIN, tag: 'ä'.repeat(18) }],
  ])('takes %s', (_, text, share) => {
    expect(parseShare(text)).toEqual({ kind: 'share', ...share })
  })

  it.each([
    ['nothing', '', /needs a directory/],
    ['only a tag', ',data', /needs a directory/],
    ['a missing folder', join(TOP, 'missing'), /no such directory/],
    ['a file', FILE, /no such directory/],
    ['an empty tag', `${PLAIN},`, /1 to 36 bytes, not 0/],
    ['a long tag', `${PLAIN},${'x'.repeat(37)}`, /1 to 36 bytes, not 37/],
    ['a long name without a tag', LONG, /1 to 36 bytes, not 40/],
    ['the root without a tag', '/', /write \/,TAG/],
  ])('refuses %s', (_, text, reason) => {
    expect(() => parseShare(text)).toThrow(BadInput)
    expect(() => parseShare(text)).toThrow(reason)
  })
})

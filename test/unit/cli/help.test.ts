import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../../src/cli/commands.ts'
import { Place, runBulkhead } from '../../support/bulkhead.ts'

const NAMES = Object.keys(COMMANDS)
const shown = async (...args: string[]) => {
  const { status, stdout, stderr } = await runBulkhead(args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

describe('bulkhead help', () => {
  it.each([[[]], [['help']], [['--help']], [['-h']]])('lists every command for %j', async args => {
    const text = await shown(...args)
    const listed = text.matchAll(/^ {2}([a-z]+) {2}/gm)
    expect([...listed].map(match => match[1])).toEqual(NAMES)
  })

  it.each(NAMES)('%s shows how it is called and every option of its own that it does not hide', async name => {
    const text = await shown('help', name)
    const { usage, options } = COMMANDS[name]!
    expect(text.split('\n')[0]).toBe(`usage: bulkhead ${usage}`)
    const listed = [...text.matchAll(/^ {2}(?:-([a-z]), | {4})--([a-z-]+)(?: (\S+))? {2,}\S/gm)]
    const own = Object.entries(await options())
      .filter(([, { hidden }]) => hidden !== true)
      .map(([option, { short, value }]) => [short, option, value])
    expect(listed.map(([, short, option, value]) => [short, option, value])).toEqual(own)
  })

  it.each(NAMES)('%s shows the same for --help and -h among its other words', async name => {
    const text = await shown('help', name)
    expect(await shown(name, '--help')).toBe(text)
    expect(await shown(name, '--nonsense', '-h')).toBe(text)
  })

  it('fits a terminal of 120 columns', async () => {
    const texts = await Promise.all(NAMES.map(name => shown('help', name)))
    const wide = texts.flatMap(text => text.split('\n')).filter(line => line.length > 120)
    expect(wide).toEqual([])
  })
})

describe('bulkhead version', () => {
  it.each(['version', '--version'])('prints the version of the package for %s', async word => {
    const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
    const { version } = JSON.parse(text) as { version: string }
    expect(await shown(word)).toBe(`bulkhead ${version}\n`)
  })
})

describe('bulkhead list', () => {
  it('prints nothing, and an empty list for programs, where nothing runs', async () => {
    using place = new Place({ ownCache: true })
    expect(await place.bulkhead(['list'])).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(await place.bulkhead(['list', '--json'])).toMatchObject({ status: 0, stdout: '[]\n', stderr: '' })
  })
})

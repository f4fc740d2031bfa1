import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cacheEntry, cacheKey, cacheRoot } from '../../../src/packages/cache.ts'

let root = ''

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cache-'))
})

afterEach(() => rmSync(root, { recursive: true }))

describe('cacheRoot', () => {
  it.each([
    [{ BULKHEAD_CACHE: '/a', XDG_CACHE_HOME: '/b', HOME: '/c' }, '/a'],
    [{ XDG_CACHE_HOME: '/b', HOME: '/c' }, '/b/bulkhead'],
    [{ XDG_CACHE_HOME: 'relative', HOME: '/c' }, '/c/.cache/bulkhead'],
    [{ BULKHEAD_CACHE: '', HOME: '/c' }, '/c/.cache/bulkhead'],
  ])('gives for %j the folder %s', (env, expected) => {
    expect(cacheRoot(env)).toBe(expected)
  })

  it('refuses a relative BULKHEAD_CACHE', () => {
    expect(() => cacheRoot({ BULKHEAD_CACHE: 'here' })).toThrow('make it an absolute path')
  })
})

describe('cacheKey', () => {
  it('changes with every part and with where one part ends', () => {
    const keys = [['ab', 'c'], ['a', 'bc'], ['abc'], ['ab', 'd']].map(parts => cacheKey(parts))

    expect(new Set(keys).size).toBe(4)
  })

  it('is the same for the same parts', () => {
    expect(cacheKey(['recipe', 'version 1'])).toBe(cacheKey(['recipe', 'version 1']))
  })
})

describe('cacheEntry', () => {
  const write = (text: string) => async (folder: string) => writeFileSync(join(folder, 'file'), text)
  const read = (entry: string) => readFileSync(join(entry, 'file'), 'utf8')

  it('builds once', async () => {
    const first = await cacheEntry(root, 'a', write('one'))
    const second = await cacheEntry(root, 'a', write('two'))

    expect(first).toBe(second)
    expect(read(second)).toBe('one')
  })

  it('builds once for callers at the same time', async () => {
    const built: number[] = []
    const build = (id: number) => async (folder: string) => {
      built.push(id)
      await Bun.sleep(5)
      await write(String(id))(folder)
    }

    const entries = await Promise.all([1, 2, 3].map(id => cacheEntry(root, 'a', build(id))))

    expect(built).toHaveLength(1)
    expect(new Set(entries.map(read)).size).toBe(1)
  })

  it('leaves nothing of a build that failed, and builds the next time', async () => {
    const failing = cacheEntry(root, 'a', async folder => {
      writeFileSync(join(folder, 'file'), 'half')
      throw new Error('broken')
    })

    await expect(failing).rejects.toThrow('broken')
    expect(readdirSync(root)).toEqual([])
    expect(read(await cacheEntry(root, 'a', write('whole')))).toBe('whole')
  })

  it('removes what a builder that was killed left behind', async () => {
    mkdirSync(join(root, 'building-4194305-abc'))

    await cacheEntry(root, 'a', write('one'))

    expect(existsSync(join(root, 'building-4194305-abc'))).toBe(false)
  })
})

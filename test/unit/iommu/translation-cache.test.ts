import { describe, expect, it } from 'vitest'
import { TranslationCache } from '../../../src/iommu/translation-cache.ts'
import { Access } from '../../../src/memory/dma-space.ts'

const PAGE = 0xffff_ffff_f000

function cache(): TranslationCache {
  const pages = new TranslationCache()
  pages.add(PAGE + 0x123, 0x5123, Access.read)
  return pages
}

describe('TranslationCache', () => {
  it.each([
    ['the first byte', PAGE, 1, Access.read, 0x5000],
    ['the whole page', PAGE, 4096, Access.read, 0x5000],
    ['the last byte', PAGE + 4095, 1, Access.read, 0x5fff],
    ['no right', PAGE, 1, 0, 0x5000],
    ['a right that it has not', PAGE, 1, Access.write, -1],
    ['one right too many', PAGE, 1, Access.read | Access.write, -1],
    ['a byte too many', PAGE + 1, 4096, Access.read, -1],
    ['the page before', PAGE - 1, 1, Access.read, -1],
    ['the page behind', PAGE + 4096, 1, Access.read, -1],
    ['a page that differs in upper bits only', PAGE - 2 ** 40, 1, Access.read, -1],
    ['an address that is beyond all', 2 ** 64, 1, Access.read, -1],
    ['the end of addresses', 2 ** 63, 1, Access.read, -1],
  ])('looks for %s', (_, iova, length, access, expected) => {
    expect(cache().find(iova, length, access)).toBe(expected)
  })

  it.each([
    ['its first byte', PAGE, PAGE, -1],
    ['its last byte', PAGE + 4095, PAGE + 4095, -1],
    ['a range around it', PAGE - 5 * 4096, PAGE + 5 * 4096, -1],
    ['a large range', 0, 2 ** 52 - 1, -1],
    ['all that there is', 0, Number.MAX_SAFE_INTEGER, -1],
    ['the page before', PAGE - 4096, PAGE - 1, 0x5000],
    ['the page behind', PAGE + 4096, PAGE + 8191, 0x5000],
    ['a page that differs in upper bits only', PAGE - 2 ** 40, PAGE - 2 ** 40 + 4095, 0x5000],
  ])('forgets %s', (_, start, end, expected) => {
    const pages = cache()
    pages.forget(start, end)
    expect(pages.find(PAGE, 1, Access.read)).toBe(expected)
  })
})

import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { markUsed, removeUnused } from '../../../src/rig/unused.ts'

const DAY_S = 86_400
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rig-test-'))
  for (const name of ['state-old', 'state-new', 'host-old']) mkdirSync(join(folder, name))
  const old = Date.now() / 1000 - 15 * DAY_S
  for (const name of ['state-old', 'host-old']) utimesSync(join(folder, name), old, old)
})

afterEach(() => rmSync(folder, { recursive: true }))

describe('removeUnused', () => {
  it('removes old entries with the prefix and nothing else', () => {
    removeUnused(folder, 'state-')
    expect(readdirSync(folder).sort()).toEqual(['host-old', 'state-new'])
  })

  it('keeps an old entry that was marked as used', () => {
    markUsed(join(folder, 'state-old'))
    removeUnused(folder, 'state-')
    expect(readdirSync(folder).sort()).toEqual(['host-old', 'state-new', 'state-old'])
  })

  it('does nothing where there is no folder', () => {
    expect(() => removeUnused(join(folder, 'none'), 'state-')).not.toThrow()
  })
})

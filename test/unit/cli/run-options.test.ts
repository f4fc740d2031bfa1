import { describe, expect, it } from 'vitest'
import { parseRun } from '../../../src/cli/run-options.ts'

describe('parseRun', () => {
  it.each([
    { words: [], rootPorts: false, packedRings: false },
    { words: ['--packed'], rootPorts: false, packedRings: true },
    { words: ['--root-ports'], rootPorts: true, packedRings: false },
  ])('takes $words for how devices are attached', ({ words, ...expected }) => {
    expect(parseRun(words)).toMatchObject(expected)
  })
})

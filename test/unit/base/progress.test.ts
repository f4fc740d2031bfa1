import { describe, expect, it } from 'vitest'
import { formatSize, terminalProgress } from '../../../src/base/progress.ts'

function recorder(isTTY: boolean) {
  const lines: string[] = []
  const clock = { ms: 0 }
  const sink = { isTTY, write: (line: string) => void lines.push(line.replace('\r\x1b[K', '<clear>')) }
  return { lines, clock, progress: terminalProgress(sink, () => clock.ms) }
}

describe('terminalProgress', () => {
  it('writes nothing where the sink is no terminal', () => {
    const { lines, progress } = recorder(false)

    progress.step('kernel', 100)
    progress.update(50)
    progress.end()

    expect(lines).toEqual([])
  })

  it('shows size and time left from the rate so far', () => {
    const { lines, clock, progress } = recorder(true)

    progress.step('kernel', 10_000_000)
    progress.update(0)
    clock.ms = 2000
    progress.update(2_000_000)

    expect(lines.at(-1)).toBe('<clear>kernel  2.0 MB of 10.0 MB  8 s left')
  })

  it('does not count what a resumed download already had', () => {
    const { lines, clock, progress } = recorder(true)

    progress.step('kernel', 10_000_000)
    progress.update(8_000_000)
    clock.ms = 1000
    progress.update(9_000_000)

    expect(lines.at(-1)).toBe('<clear>kernel  9.0 MB of 10.0 MB  1 s left')
  })

  it('redraws at most ten times a second', () => {
    const { lines, clock, progress } = recorder(true)

    progress.step('kernel', 100)
    clock.ms = 50
    progress.update(50)

    expect(lines).toHaveLength(1)
  })

  it('clears its line once', () => {
    const { lines, progress } = recorder(true)

    progress.step('kernel')
    progress.end()
    progress.end()

    expect(lines).toEqual(['<clear>kernel', '<clear>'])
  })
})

describe('formatSize', () => {
  it.each([
    [999, '999 B'],
    [12_345, '12 kB'],
    [34_307_256, '34.3 MB'],
  ])('writes %i bytes as %s', (bytes, expected) => {
    expect(formatSize(bytes)).toBe(expected)
  })
})

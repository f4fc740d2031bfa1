import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { RLIMIT_MEMLOCK, raiseResourceLimit, resourceLimit } from '../../../src/host/resource-limit.ts'

/** As /proc tells it: the limit and the most that it can be. */
function shown(): readonly number[] {
  const line = /^Max locked memory +(\S+) +(\S+) +bytes/m.exec(readFileSync('/proc/self/limits', 'utf8'))!
  return line.slice(1, 3).map(text => (text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)))
}

describe('resourceLimit', () => {
  it('has the limit and the most that it can be', () => {
    const { current, maximum } = resourceLimit(RLIMIT_MEMLOCK)
    expect([current, maximum]).toEqual(shown())
  })
})

describe('raiseResourceLimit', () => {
  it('makes the limit the most that it can be', () => {
    const raised = raiseResourceLimit(RLIMIT_MEMLOCK)
    expect(raised).toBe(resourceLimit(RLIMIT_MEMLOCK).maximum)
    expect(shown()).toEqual([raised, raised])
  })
})

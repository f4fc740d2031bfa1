import { describe, expect, it } from 'vitest'
import * as errno from '../../../src/host/errno.ts'
import { evaluateInC, missingCompiler } from '../../support/c-program.ts'
import { describeUnless } from '../../support/skip.ts'

const NUMBERS = Array.from({ length: 133 }, (_, index) => index + 1)
/** Numbers that asm-generic/errno.h does not use. */
const UNUSED = [41, 58]

describe('errnoName', () => {
  it('names every number of the kernel headers', () => {
    const named = NUMBERS.filter(number => errno.errnoName(number) !== 'E?')
    expect(named).toEqual(NUMBERS.filter(number => !UNUSED.includes(number)))
  })

  it('has a name for a number that there is not', () => {
    expect(errno.errnoName(4095)).toBe('E?')
  })
})

describeUnless(missingCompiler('errno.h'), 'the C headers', () => {
  it('agree with every name and constant', () => {
    const named = NUMBERS.filter(number => !UNUSED.includes(number)).map(
      number => [errno.errnoName(number), number] as const,
    )
    const constants = Object.entries<unknown>(errno).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number',
    )
    const ours = Object.fromEntries([...named, ...constants])
    expect(Object.fromEntries(evaluateInC(['errno.h'], Object.keys(ours)))).toEqual(ours)
  })
})

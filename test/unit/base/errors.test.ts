import { describe, expect, it } from 'vitest'
import { assert, firstError, HostError, SysError } from '../../../src/base/errors.ts'

describe('SysError', () => {
  it('names the call and the errno, and keeps its cause', () => {
    const cause = new Error('first')
    const error = new SysError('KVM_CREATE_VM', 12, 'ENOMEM', { cause })
    expect(error).toBeInstanceOf(HostError)
    expect(error.message).toBe('KVM_CREATE_VM failed: ENOMEM (errno 12)')
    expect(error).toMatchObject({ name: 'SysError', call: 'KVM_CREATE_VM', errno: 12, code: 'ENOMEM', cause })
  })
})

describe('assert', () => {
  it('throws the invariant in words when it does not hold', () => {
    expect(() => assert(false, 'water is wet')).toThrow('internal error: water is wet')
    expect(() => assert(true, 'water is wet')).not.toThrow()
  })
})

describe('firstError', () => {
  it('is what was thrown before things were given back, which failed too', () => {
    const first = new Error('first')
    const work = () => {
      using opened = new DisposableStack()
      opened.defer(() => expect.unreachable('second'))
      opened.defer(() => expect.unreachable('third'))
      throw first
    }
    expect(work).toThrow(SuppressedError)
    expect(attempt(work)).toBe(first)
  })

  it('is the error itself where there is no other', () => {
    expect(firstError('text')).toBe('text')
  })
})

function attempt(work: () => never): unknown {
  try {
    return work()
  } catch (error) {
    return firstError(error)
  }
}

import { describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { ioctl, ioctlValue, tryIoctl } from '../../../src/host/ioctl.ts'

/** asm-generic/ioctls.h */
const FIONREAD = 0x541b
const EBADF = 9

describe('ioctl', () => {
  it('names the call that failed', () => {
    expect(() => ioctl('FIONREAD', -1, FIONREAD, new CBuffer(4))).toThrow('FIONREAD failed: EBADF')
    expect(() => ioctlValue('FIONREAD', -1, FIONREAD)).toThrow('FIONREAD failed: EBADF')
  })
})

describe('tryIoctl', () => {
  it('answers with a negative errno', () => {
    expect(tryIoctl(-1, FIONREAD, new CBuffer(4))).toBe(-EBADF)
  })
})

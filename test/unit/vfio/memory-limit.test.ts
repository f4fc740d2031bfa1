import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { allowedBytes, checkMemoryLimit, memoryAdvice, memoryLimit } from '../../../src/vfio/memory-limit.ts'

const MIB = 2 ** 20
const NO_RAISE = () => expect.unreachable('the limit was raised')

const status = (capabilities: string, lockedKib: number, users = '         0          0 4294967295\n') => ({
  status: `Name:\tbun\nVmLck:\t   ${lockedKib} kB\nCapInh:\t000001ffffffffff\nCapEff:\t${capabilities}\n`,
  users,
})

describe('allowedBytes', () => {
  it.each([
    ['in the first user namespace', {}],
    ['where there are no others', { users: undefined }],
  ])('is without limit with CAP_IPC_LOCK %s', (_, change) => {
    const text = { ...status('0000000000004000', 0), ...change }
    expect(allowedBytes(text, { current: MIB, maximum: MIB }, NO_RAISE)).toBe(Number.POSITIVE_INFINITY)
  })

  it('has its limit with the CAP_IPC_LOCK of a user namespace, which is none to the kernel', () => {
    const text = status('000001ffffffffff', 0, '         0       1000          1\n         1     100000      65536\n')
    expect(allowedBytes(text, { current: MIB, maximum: 2 * MIB }, () => 2 * MIB)).toBe(2 * MIB)
  })

  it('is the limit less what is locked', () => {
    const text = status('00000000ffffbfff', 256)
    expect(allowedBytes(text, { current: MIB, maximum: MIB }, NO_RAISE)).toBe(MIB - 256 * 1024)
  })

  it('raises the limit where it may', () => {
    const text = status('0000000000000000', 0)
    expect(allowedBytes(text, { current: MIB, maximum: 64 * MIB }, () => 64 * MIB)).toBe(64 * MIB)
  })

  it('is never less than nothing', () => {
    expect(allowedBytes(status('0', 4096), { current: MIB, maximum: MIB }, NO_RAISE)).toBe(0)
  })
})

describe('checkMemoryLimit', () => {
  it('takes what this process may lock', () => {
    expect(() => checkMemoryLimit(0)).not.toThrow()
    expect(() => checkMemoryLimit(Math.min(memoryLimit(), 2 ** 40))).not.toThrow()
  })
})

describe('memoryAdvice', () => {
  it('says how much is needed, how much is allowed, and what to do', () => {
    expect(new BadInput(memoryAdvice(512 * MIB, 8 * MIB)).message).toBe(
      "the devices need 512 MiB of the guest's memory locked, and this process may lock 8 MiB (RLIMIT_MEMLOCK): " +
        'allow more with "ulimit -l 524288" as root, or give the program CAP_IPC_LOCK',
    )
  })
})

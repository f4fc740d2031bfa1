import { describe, expect, it } from 'vitest'
import { parseDisk } from '../../../src/cli/disk-option.ts'

describe('parseDisk', () => {
  it.each([
    ['disk.img', { path: 'disk.img' }],
    ['/a b/c=d', { path: '/a b/c=d' }],
    ['d,ro', { path: 'd', readOnly: true }],
    ['d,direct,ro', { path: 'd', direct: true, readOnly: true }],
    ['d,pinned', { path: 'd', pinned: true }],
    ['d,serial=ab=c', { path: 'd', serial: 'ab=c' }],
    ['d,serial=', { path: 'd', serial: '' }],
    ['d,queues=16', { path: 'd', queues: 16 }],
    ['d,io=threads', { path: 'd', io: 'threads' }],
    ['d,io=uring', { path: 'd', io: 'uring' }],
  ])('takes %s', (text, config) => {
    expect(parseDisk(text)).toEqual({ kind: 'disk', ...config })
  })

  it.each([
    ['', '--disk needs a path first, not ""'],
    [',ro', '--disk needs a path first, not ",ro"'],
    ['d,rw', '--disk d has no option "rw"'],
    ['d,', '--disk d has no option ""'],
    ['d,ro=1', '--disk d has no option "ro=1"'],
    ['d,ro,ro', '--disk d: ro is given twice'],
    ['d,serial=1,serial=2', '--disk d: serial is given twice'],
    ['d,serial', '--disk d: serial needs a value: serial=VALUE'],
    ['d,queues=0', '--disk d: queues must be a whole number from 1 to 16, not "0"'],
    ['d,queues=17', '--disk d: queues must be a whole number from 1 to 16, not "17"'],
    ['d,io=aio', '--disk d: io must be one of uring, threads, not "aio"'],
  ])('refuses %s', (text, message) => {
    expect(() => parseDisk(text)).toThrow(message)
  })
})

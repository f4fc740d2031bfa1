import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd, writeAll } from '../../../src/host/fd.ts'
import { check, libc } from '../../../src/host/libc.ts'
import { type HostFault, HostFaults } from '../../../src/vfio/host-faults.ts'

const AF_UNIX = 1
/** A read gives one packet, as one of /dev/kmsg gives one record. */
const SOCK_SEQPACKET = 5
const SOCK_NONBLOCK = 0o4000

const line = (iova: string) =>
  `DMAR: [DMA Write NO_PASID] Request device [00:10.0] fault addr 0x${iova} [fault reason 0x05] PTE Write access is not set`

let loop: EventLoop
let log = -1
let faults: HostFaults
let found: HostFault[] = []

beforeEach(() => {
  const pair = new CBuffer(8)
  check('socketpair', libc.socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair.pointer))
  log = pair.view.getInt32(4, true)
  loop = new EventLoop()
  found = []
  faults = new HostFaults(loop, pair.view.getInt32(0, true), { onFault: fault => found.push(fault) })
})

afterEach(() => {
  faults[Symbol.dispose]()
  loop[Symbol.dispose]()
  closeFd(log)
})

const record = (message: string, number = 3) =>
  writeAll(log, new TextEncoder().encode(`${number},1200,5140900,-;${message}\n`))

describe('HostFaults', () => {
  it('tells of faults as they come', () => {
    record('Linux version 6.12')
    record(line('1000'))
    record(line('2000'))
    loop.wait(0)
    expect(found).toEqual([
      { address: '0000:00:10.0', access: 'write', iova: 0x1000, reason: 'PTE Write access is not set' },
      { address: '0000:00:10.0', access: 'write', iova: 0x2000, reason: 'PTE Write access is not set' },
    ])
  })

  it('reads the message alone, without the properties behind it', () => {
    record(`${line('1000')}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:10.0`)
    loop.wait(0)
    expect(found.map(({ reason }) => reason)).toEqual(['PTE Write access is not set'])
  })

  it('turns back what the log writes as numbers', () => {
    record('arm-smmu-v3 smmu.0: event 0x10 received:')
    for (const word of ['0000010000000010', '0000020000000000', '000000000000f040', '0000000000000000'])
      record(`arm-smmu-v3 smmu.0: \\x090x${word}`)
    loop.wait(0)
    expect(found.map(({ iova }) => iova)).toEqual([0xf040])
  })

  // A program's records have a facility of 1 or more (LOG_USER), in the number's bits from 3 on.
  it.each([11, 14, 27, 187])('believes no program that writes to the log, with the number %d', number => {
    record(line('1000'), number)
    record(line('2000'), 4)
    loop.wait(0)
    expect(found.map(({ iova }) => iova)).toEqual([0x2000])
  })

  it('reads so much of a log that runs over and no more, and the rest later', () => {
    for (let i = 0; i < 100; i++) record(line('1000'))
    loop.wait(0)
    const first = found.length
    loop.wait(0)
    expect([first, found.length]).toEqual([64, 100])
  })
})

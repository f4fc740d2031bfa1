/**
 * Faults of the host's IOMMU, as the kernel tells of them in its log: VFIO itself reports none. Read from /dev/kmsg
 * (Documentation/ABI/testing/dev-kmsg), which needs privileges on most hosts. The kernel limits how many it logs, so
 * there may be more than are seen here.
 */
import { constants } from 'node:fs'
import { SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EINVAL, EPIPE } from '../host/errno.ts'
import { EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { closeFd, openFd, readFd } from '../host/fd.ts'
import { check, libc } from '../host/libc.ts'
import { type HostFault, HostFaultText } from './host-fault-text.ts'

export type { HostFault } from './host-fault-text.ts'

const KMSG = '/dev/kmsg'
const SEEK_END = 2
/** CONSOLE_EXT_LOG_MAX of kernel/printk/internal.h: a record is never longer. */
const RECORD_SIZE = 8192
/** Records of one wake: a host whose log runs over must not keep the guest's devices waiting. */
const RECORDS = 64
/** Never that of what a program writes to /dev/kmsg, whatever it says: the kernel makes it another one (LOG_USER). */
const LOG_KERN = 0
/** Below the facility in a record's number: the level. */
const LEVEL_BITS = 3

/** What a watcher of the log is told. */
export interface HostFaultsOptions {
  readonly onFault: (fault: HostFault) => void
  /** Records were overwritten before they were read, or could not be. */
  readonly onLost?: () => void
  /** Whose records count; absent: the kernel's. Others are for tests. */
  readonly facility?: number
}

/**
 * Tells of the faults that happen from now on.
 *
 * @example using faults = HostFaults.open(loop, { onFault: ({ address, iova }) => note(address, iova) })
 */
export class HostFaults {
  private readonly buffer = new CBuffer(RECORD_SIZE)
  private readonly decoder = new TextDecoder()
  private readonly text = new HostFaultText()

  /** Takes over a descriptor that gives one record of /dev/kmsg a read and does not block; `open` is the usual way. */
  constructor(
    private readonly loop: EventLoop,
    private readonly fd: number,
    private readonly options: HostFaultsOptions,
  ) {
    loop.watch(fd, EPOLLIN, () => this.read())
  }

  /** Opens the kernel's log behind what is in it. Throws `SysError`: EPERM or EACCES to users whom the host shows none. */
  static open(loop: EventLoop, options: HostFaultsOptions): HostFaults {
    const fd = openFd(KMSG, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      check(`lseek ${KMSG}`, libc.lseek(fd, 0, SEEK_END) as number)
      return new HostFaults(loop, fd, options)
    } catch (error) {
      closeFd(fd)
      throw error
    }
  }

  [Symbol.dispose](): void {
    this.loop.unwatch(this.fd)
    closeFd(this.fd)
  }

  private read(): void {
    for (let count = 0; count < RECORDS; count++) {
      const record = this.next()
      if (record === undefined) return
      const isMeant = facilityOf(record) === (this.options.facility ?? LOG_KERN)
      const fault = isMeant ? this.text.read(messageOf(record)) : undefined
      if (fault !== undefined) this.options.onFault(fault)
    }
  }

  /** A record; undefined when there is none now. */
  private next(): string | undefined {
    try {
      const size = readFd(this.fd, this.buffer)
      return size === undefined || size === 0 ? undefined : this.decoder.decode(this.buffer.bytes.subarray(0, size))
    } catch (error) {
      // EPIPE: the log has run over; EINVAL: longer than the buffer. The next read goes on behind what is missing.
      if (!(error instanceof SysError) || (error.errno !== EPIPE && error.errno !== EINVAL)) throw error
      this.options.onLost?.()
      return ''
    }
  }
}

/** Whose a record is: the number in front of it has that and the level. */
function facilityOf(record: string): number {
  const [number] = /^\d+/.exec(record) ?? []
  return number === undefined ? -1 : Number(number) >> LEVEL_BITS
}

/** The message of a record, "level,number,time,flags;message" and lines of properties; its \xNN are turned back. */
function messageOf(record: string): string {
  const [first = ''] = record.split('\n', 1)
  return first
    .slice(first.indexOf(';') + 1)
    .replace(/\\x([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

/** `--disk` as a machine is given it. Apart from disk.ts, so that who only reads a command line loads none of that. */
import { basename } from 'node:path'
import { BadInput } from '../../base/errors.ts'

/** The most queues of a disk. */
export const MAX_DISK_QUEUES = 16

/** VIRTIO_BLK_ID_BYTES. */
const SERIAL_BYTES = 20

/** A disk to put into a machine. */
export interface DiskConfig {
  readonly kind: 'disk'
  /** A raw or sparse file, or a block device. */
  readonly path: string
  readonly readOnly?: boolean
  /** Past the host's page cache (O_DIRECT). */
  readonly direct?: boolean
  /** What the guest sees as the serial number, at most 20 bytes; absent: the end of the file's name. */
  readonly serial?: string
  /** 1 to 16; absent: one for each vCPU, at most 4. */
  readonly queues?: number
  /** Absent: io_uring if the host has it, else a thread. */
  readonly io?: 'uring' | 'threads'
  /**
   * io_uring with guest memory pinned (registered buffers). All guest memory becomes resident, and nothing of it may be
   * given back to the host while the machine runs: not together with a balloon.
   */
  readonly pinned?: boolean
}

/** The end of the file's name, as far as a serial number can hold it. */
export function defaultSerial(path: string): string {
  const bytes = new TextEncoder().encode(basename(path))
  // Not in the middle of a character.
  let start = Math.max(bytes.length - SERIAL_BYTES, 0)
  while (start < bytes.length && ((bytes[start] as number) & 0xc0) === 0x80) start++
  return new TextDecoder().decode(bytes.subarray(start))
}

/** Refuses a serial number that the guest cannot be given. */
export function checkSerial(path: string, serial: string): void {
  if (Buffer.byteLength(serial) > SERIAL_BYTES)
    throw new BadInput(`disk ${path}: the serial number "${serial}" is longer than ${SERIAL_BYTES} bytes`)
}

/** The hypervisors that run the bench guest, each with the same devices: a disk, an entropy source, a tap. */
import { accessSync, constants } from 'node:fs'
import { Skip } from './c-program.ts'

const CLI = new URL('../../src/cli.ts', import.meta.url).pathname
const MEMORY_MIB = 128

/** What a machine is given. */
export interface BenchParts {
  readonly guest: string
  readonly disk: string
  readonly tap: string
}

/** A hypervisor with its options. */
export interface BenchMachine {
  readonly name: string
  /** The command that runs the guest with these words. */
  command(parts: BenchParts, words: string): readonly string[]
}

export const BULKHEAD: BenchMachine = {
  name: 'bulkhead',
  command: ({ guest, disk, tap }, words) => [
    process.execPath,
    CLI,
    ...['run', '--host', 'kvm', '--mem', String(MEMORY_MIB), '--kernel', guest, '--params', words],
    ...['--disk', disk, '--rng', '--network', `mode=tap,ifname=${tap}`],
  ],
}

/** QEMU as it comes first, then what is said to be faster. A host without /dev/vhost-net has no vhost=on. */
export const QEMU_MACHINES: readonly BenchMachine[] = [
  qemu('QEMU', 'threads', false),
  qemu('QEMU, iothread', 'threads', true),
  qemu('QEMU, io_uring', 'io_uring', false),
  qemu('QEMU, both', 'io_uring', true),
]

/** Throws `Skip` where these machines cannot run. */
export function requireMachines(): void {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    throw new Skip('/dev/kvm cannot be opened')
  }
  if (Bun.which('qemu-system-x86_64') === null) throw new Skip('the peer is QEMU (apt install qemu-system-x86 seabios)')
}

function qemu(name: string, aio: 'threads' | 'io_uring', iothread: boolean): BenchMachine {
  const disk = `virtio-blk-pci,drive=disk,serial=bench,disable-legacy=on${iothread ? ',iothread=io' : ''}`
  return {
    name,
    command: (parts, words) => [
      'qemu-system-x86_64',
      ...['-accel', 'kvm', '-cpu', 'host', '-M', 'q35', '-m', String(MEMORY_MIB), '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
      ...(iothread ? ['-object', 'iothread,id=io'] : []),
      ...['-drive', `file=${parts.disk},if=none,id=disk,format=raw,cache=writeback,aio=${aio}`, '-device', disk],
      ...['-object', 'rng-random,filename=/dev/urandom,id=rng', '-device', 'virtio-rng-pci,rng=rng,disable-legacy=on'],
      ...['-netdev', `tap,id=net,ifname=${parts.tap},script=no,downscript=no,vhost=off`],
      ...['-device', 'virtio-net-pci,netdev=net,disable-legacy=on'],
      ...['-kernel', parts.guest, '-append', words],
    ],
  }
}

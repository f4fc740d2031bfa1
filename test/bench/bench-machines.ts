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

export const BULKHEAD = bulkhead([])
/** Every device behind its IOMMU; without it first, then with it. */
export const BULKHEAD_IOMMU = bulkhead(['--iommu', 'all'])

/** QEMU as it comes first, then what is said to be faster. A host without /dev/vhost-net has no vhost=on. */
export const QEMU_MACHINES: readonly BenchMachine[] = [
  qemu('QEMU', { aio: 'threads', iothread: false }),
  qemu('QEMU, iothread', { aio: 'threads', iothread: true }),
  qemu('QEMU, io_uring', { aio: 'io_uring', iothread: false }),
  qemu('QEMU, both', { aio: 'io_uring', iothread: true }),
]
/** QEMU as it comes, and what is said to be faster, with every device behind its IOMMU. */
export const QEMU_IOMMU = qemu('QEMU', { aio: 'threads', iothread: false, iommu: true })

/** Throws `Skip` where these machines cannot run. */
export function requireMachines(): void {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
  } catch {
    throw new Skip('/dev/kvm cannot be opened')
  }
  if (Bun.which('qemu-system-x86_64') === null) throw new Skip('the peer is QEMU (apt install qemu-system-x86 seabios)')
}

function bulkhead(options: readonly string[]): BenchMachine {
  return {
    name: 'bulkhead',
    command: ({ guest, disk, tap }, words) => [
      process.execPath,
      CLI,
      ...['run', '--host', 'kvm', '--mem', String(MEMORY_MIB), '--kernel', guest, '--params', words],
      ...['--disk', disk, '--rng', '--network', `mode=tap,ifname=${tap}`, ...options],
    ],
  }
}

interface QemuOptions {
  readonly aio: 'threads' | 'io_uring'
  readonly iothread: boolean
  readonly iommu?: boolean
}

function qemu(name: string, { aio, iothread, iommu = false }: QemuOptions): BenchMachine {
  const virtio = `disable-legacy=on${iommu ? ',iommu_platform=on' : ''}`
  const disk = `virtio-blk-pci,drive=disk,serial=bench,${virtio}${iothread ? ',iothread=io' : ''}`
  return {
    name,
    command: (parts, words) => [
      'qemu-system-x86_64',
      ...['-accel', 'kvm', '-cpu', 'host', '-M', 'q35', '-m', String(MEMORY_MIB), '-nodefaults', '-display', 'none'],
      ...['-no-reboot', '-serial', 'stdio', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
      // Devices that come before it are not behind it.
      ...(iommu ? ['-device', 'virtio-iommu-pci'] : []),
      ...(iothread ? ['-object', 'iothread,id=io'] : []),
      ...['-drive', `file=${parts.disk},if=none,id=disk,format=raw,cache=writeback,aio=${aio}`, '-device', disk],
      ...['-object', 'rng-random,filename=/dev/urandom,id=rng', '-device', `virtio-rng-pci,rng=rng,${virtio}`],
      ...['-netdev', `tap,id=net,ifname=${parts.tap},script=no,downscript=no,vhost=off`],
      ...['-device', `virtio-net-pci,netdev=net,${virtio}`],
      ...['-kernel', parts.guest, '-append', words],
    ],
  }
}

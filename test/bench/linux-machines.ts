/** The hypervisors that run the Linux benchmark's guest in the emulated host, as words for its shell. */
import type { QemuProgram } from '../../src/rig/qemu.ts'
import { DISK } from './linux-tools.ts'

export const GUEST_MEMORY_MIB = 256
const TAP = 'bench0'
/** The same for all, or the host would have to find out anew who has the guest's address. */
const MAC = '02:00:00:00:00:02'

/** Paths in the emulated host. */
export interface LinuxParts {
  readonly kernel: string
  readonly initrd: string
  readonly tools: string
  readonly params: string
  readonly qemu: QemuProgram
}

/** A hypervisor with its options. */
export interface LinuxMachine {
  readonly name: string
  command(parts: LinuxParts): readonly string[]
}

/** What a machine has beyond the usual. */
export interface LinuxOptions {
  readonly name?: string
  /** Every device behind an IOMMU. */
  readonly iommu?: boolean
  /** Further words for the kernel. */
  readonly params?: string
}

/** Makes the tap, before the first machine. */
export function tapScript(hostAddress: string): string {
  return `tunctl -t ${TAP} >/dev/null && ip address add ${hostAddress}/24 dev ${TAP} && ip link set ${TAP} up`
}

export function bulkheadLinux({ name = 'bulkhead', iommu = false, params: more = '' }: LinuxOptions): LinuxMachine {
  return {
    name,
    command: ({ kernel, initrd, tools, params }) => [
      ...['bulkhead', 'run', '--host', 'kvm', '--loglevel', 'error', '--mem', `${GUEST_MEMORY_MIB}M`],
      ...['--kernel', kernel, '--initrd', initrd, '--params', `${params} ${more}`],
      ...['--disk', `${DISK.path},ro`, '--disk', `${tools},ro`, '--network', `mode=tap,ifname=${TAP},mac=${MAC}`],
      ...(iommu ? ['--iommu', 'all'] : []),
    ],
  }
}

export function qemuLinux({
  name = 'QEMU',
  iommu = false,
  params: more = '',
  aio = 'threads',
}: LinuxOptions & { readonly aio?: 'threads' | 'io_uring' }): LinuxMachine {
  const virtio = `disable-legacy=on${iommu ? ',iommu_platform=on' : ''}`
  const disk = (id: string, path: string) => {
    const drive = `file=${path},if=none,id=${id},format=raw,readonly=on,cache=writeback,aio=${aio}`
    return ['-drive', drive, '-device', `virtio-blk-pci,drive=${id},${virtio}`]
  }
  return {
    name,
    command: ({ kernel, initrd, tools, params, qemu: program }) => [
      ...['env', ...Object.entries(program.env).map(([key, value]) => `${key}=${value}`), ...program.command],
      ...program.dataFolders.flatMap(folder => ['-L', folder]),
      ...['-accel', 'kvm', '-cpu', 'host', '-M', 'q35', '-m', String(GUEST_MEMORY_MIB)],
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', `${params} ${more}`],
      // Devices that come before it are not behind it.
      ...(iommu ? ['-device', 'virtio-iommu-pci'] : []),
      ...disk('disk', DISK.path),
      ...disk('tools', tools),
      ...['-netdev', `tap,id=net,ifname=${TAP},script=no,downscript=no,vhost=off`],
      ...['-device', `virtio-net-pci,netdev=net,mac=${MAC},romfile=,${virtio}`],
    ],
  }
}

/** Ours, QEMU as it comes first, then QEMU with what our disks use too. There is no vhost in the emulated host. */
export const LINUX_MACHINES: readonly LinuxMachine[] = [
  bulkheadLinux({}),
  qemuLinux({}),
  qemuLinux({ name: 'QEMU, io_uring', aio: 'io_uring' }),
]

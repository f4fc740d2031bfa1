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

/** Ours, QEMU as it comes first, then QEMU with what our disks use too. There is no vhost in the emulated host. */
export const LINUX_MACHINES: readonly LinuxMachine[] = [
  {
    name: 'bulkhead',
    command: ({ kernel, initrd, tools, params }) => [
      ...['bulkhead', 'run', '--host', 'kvm', '--loglevel', 'error', '--mem', `${GUEST_MEMORY_MIB}M`],
      ...['--kernel', kernel, '--initrd', initrd, '--params', params],
      ...['--disk', `${DISK.path},ro`, '--disk', `${tools},ro`, '--network', `mode=tap,ifname=${TAP},mac=${MAC}`],
    ],
  },
  qemu('QEMU', 'threads'),
  qemu('QEMU, io_uring', 'io_uring'),
]

/** Makes the tap, before the first machine. */
export function tapScript(hostAddress: string): string {
  return `tunctl -t ${TAP} >/dev/null && ip address add ${hostAddress}/24 dev ${TAP} && ip link set ${TAP} up`
}

function qemu(name: string, aio: 'threads' | 'io_uring'): LinuxMachine {
  return {
    name,
    command: ({ kernel, initrd, tools, params, qemu: program }) => [
      ...['env', ...Object.entries(program.env).map(([key, value]) => `${key}=${value}`), ...program.command],
      ...program.dataFolders.flatMap(folder => ['-L', folder]),
      ...['-accel', 'kvm', '-cpu', 'host', '-M', 'q35', '-m', String(GUEST_MEMORY_MIB)],
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', params],
      ...disk('disk', DISK.path, aio),
      ...disk('tools', tools, aio),
      ...['-netdev', `tap,id=net,ifname=${TAP},script=no,downscript=no,vhost=off`],
      ...['-device', `virtio-net-pci,netdev=net,mac=${MAC},romfile=,disable-legacy=on`],
    ],
  }
}

function disk(id: string, path: string, aio: string): readonly string[] {
  const drive = `file=${path},if=none,id=${id},format=raw,readonly=on,cache=writeback,aio=${aio}`
  return ['-drive', drive, '-device', `virtio-blk-pci,drive=${id},disable-legacy=on`]
}

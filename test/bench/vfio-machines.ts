/** What reads the passed disk in the VFIO benchmark: the host itself and the guests of two hypervisors, as shell. */
import { shellQuote } from '../../src/rig/job.ts'
import { GUEST_MEMORY_MIB, type LinuxParts } from './linux-machines.ts'
import { LOADS, LONG_WARM_UP } from './vfio-loads.ts'

/** Of the rig's first NVMe disk. */
const ADDRESS = '0000:00:11.0'
export const INSTANCE = 'bench'
/** A machine takes up to 110 s on a quiet host. */
export const MACHINE_LIMIT_S = 400

/** A way to use an IOMMU. */
export interface Mode {
  readonly name: string
  /** What sysfs says of the disk's group. */
  readonly groupType: string
  /** The guest's kernel parameters. */
  readonly params: string
}

export const MODES: readonly Mode[] = [
  { name: 'strict', groupType: 'DMA', params: 'iommu.passthrough=0 iommu.strict=1' },
  { name: 'lazy', groupType: 'DMA-FQ', params: 'iommu.passthrough=0 iommu.strict=0' },
  { name: 'passthrough', groupType: 'identity', params: 'iommu.passthrough=1' },
]

/** The machine without an IOMMU comes first where there is one. */
export const DIRECT: Mode = { name: 'no IOMMU', groupType: 'none', params: '' }

/** Shell functions for the host. */
export const HOST_COMMANDS = `
device=/sys/bus/pci/devices/${ADDRESS}
take_driver() { [ ! -e $device/driver ] || echo ${ADDRESS} >$device/driver/unbind; }
give_driver() { echo $1 >$device/driver_override; echo ${ADDRESS} >/sys/bus/pci/drivers_probe; }
# The mode of the host's own IOMMU.
own() {
  take_driver
  echo $1 >$device/iommu_group/type
  give_driver nvme
  ${LOADS}
}
# A guest says when it has measured, and waits. Nothing looks at it meanwhile: there is one CPU.
guest() {
  mkfifo /tmp/output
  "$@" </dev/null >/tmp/output 2>&1 &
  pid=$!
  while read -r line; do
    echo "$line"
    case $line in
    measured*)
      [ "$1" != bulkhead ] || echo "state $(bulkhead iommu stat ${INSTANCE} --json)"
      kill $pid ;;
    esac
  done </tmp/output
  wait $pid || true
  rm /tmp/output
}
`

/** A machine as words for the host's shell. */
export type Command = (parts: LinuxParts) => string

export function ownCommand({ groupType }: Mode): Command {
  return () => `own ${groupType}`
}

export function bulkheadCommand({ params: more, groupType }: Mode): Command {
  return ({ kernel, initrd, tools, params }) =>
    guestCommand([
      ...['bulkhead', 'run', '--host', 'kvm', '--loglevel', 'error', '--name', INSTANCE],
      ...['--timeout', String(MACHINE_LIMIT_S), '--mem', `${GUEST_MEMORY_MIB}M`],
      ...['--kernel', kernel, '--initrd', initrd, '--params', `${params} ${more} ${LONG_WARM_UP}`],
      ...['--disk', `${tools},ro`, '--vfio', ADDRESS],
      // The disk alone: every request to the IOMMU is for it.
      ...(groupType === DIRECT.groupType ? [] : ['--iommu', 'vfio0,bypass=off']),
    ])
}

export function qemuCommand({ params: more, groupType }: Mode): Command {
  return ({ kernel, initrd, tools, params, qemu: program }) =>
    guestCommand([
      ...['timeout', String(MACHINE_LIMIT_S)],
      ...['env', ...Object.entries(program.env).map(([key, value]) => `${key}=${value}`), ...program.command],
      ...program.dataFolders.flatMap(folder => ['-L', folder]),
      ...['-accel', 'kvm', '-cpu', 'host', '-M', 'q35', '-m', String(GUEST_MEMORY_MIB)],
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', kernel, '-initrd', initrd, '-append', `${params} ${more}`],
      // Devices that come before it are not behind it; virtio's are not unless they say so.
      ...(groupType === DIRECT.groupType ? [] : ['-device', 'virtio-iommu-pci']),
      ...['-drive', `file=${tools},if=none,id=tools,format=raw,readonly=on`],
      ...['-device', 'virtio-blk-pci,drive=tools,disable-legacy=on'],
      ...['-device', `vfio-pci,host=${ADDRESS}`],
    ])
}

function guestCommand(words: readonly string[]): string {
  return `guest ${words.map(shellQuote).join(' ')}`
}

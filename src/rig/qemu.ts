/**
 * QEMU's command line for the rig: an emulated PC with SVM and an IOMMU. Pure: strings in, strings out.
 *
 * PCI slots: 01 the network of cards for guests, 02 virtio-serial, 03 the drive with Bun, 04 the network, 05 and up the
 * drives of the job, 10 and up devices for guests (emulated-devices.ts). A saved state fits only a machine with the same
 * devices, so the drives' slots are always there and an unused one has an empty medium. Shared folders and devices for
 * guests come only to machines that boot: not all of them have a state that could be saved.
 */
import { BadInput } from '../base/errors.ts'
import { type EmulatedDevice, haveNetworkCard, type PlacedDevice, placeDevices } from './emulated-devices.ts'

/** Slots for a job's own drives: one is the program, the rest are the caller's files. */
export const DRIVE_SLOTS = 8
const CARD_NETWORK_SLOT = 1
const BUN_SLOT = 3
const NETWORK_SLOT = 4
const FIRST_JOB_SLOT = 5
/** Drives that fit before the slots of devices for guests. */
const DRIVES_BESIDE_DEVICES = 0x10 - FIRST_JOB_SLOT

/** The byte streams between us and L1, in the order of their virtio port numbers. */
export const PORTS = ['job', 'stdin', 'stdout', 'stderr', 'trace', 'control'] as const
export type PortName = (typeof PORTS)[number] | 'terminal'

/** A host file that L1 sees as a virtio drive. */
export interface Drive {
  readonly hostPath: string
  readonly writable: boolean
}

/** A host folder that L1 sees through virtio-fs: the socket of the program that serves it. */
export interface SharedFolder {
  readonly tag: string
  readonly socket: string
}

/** What a job brings into the machine. */
export interface Attachments {
  readonly drives: readonly Drive[]
  readonly folders: readonly SharedFolder[]
  readonly devices: readonly EmulatedDevice[]
}

/** How to call QEMU: a program with the arguments that come before all others, and its environment. */
export interface QemuProgram {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly dataFolders: readonly string[]
}

/** What makes two machines interchangeable for a saved state, plus the files that may differ. */
export interface MachineSpec {
  readonly memoryMiB: number
  readonly cpus: number
  readonly kernel: string
  readonly initrd: string
  readonly params: string
  readonly bunDisk: string
}

/**
 * RAM of a machine: of its own, of its own but open to the servers of shared folders, shared with a file that is being
 * made, or a private copy of such a file.
 */
export type Memory =
  | { readonly kind: 'own' }
  | { readonly kind: 'open' }
  | { readonly kind: 'save'; readonly path: string }
  | { readonly kind: 'restore'; readonly path: string }

/** PCI slot of the job's drive `index`, as two hexadecimal digits. */
export function driveSlot(index: number): string {
  return slot(FIRST_JOB_SLOT + index)
}

/** What of the machine's shape this file decides: two machines of one shape can take each other's state. */
export function machineShape(): string {
  const program = { command: [], env: {}, dataFolders: [] }
  const spec = { memoryMiB: 0, cpus: 0, kernel: '', initrd: '', params: '', bunDisk: '' }
  const paths = { socket: (name: string) => name, console: '' }
  return qemuArguments(program, spec, paths, { kind: 'own' }, { drives: [], folders: [], devices: [] }).join(' ')
}

/** Paths inside the run's private folder. */
export interface RunPaths {
  readonly socket: (name: PortName | 'monitor') => string
  readonly console: string
}

/** The arguments for one machine. */
export function qemuArguments(
  program: QemuProgram,
  spec: MachineSpec,
  paths: RunPaths,
  memory: Memory,
  { drives, folders, devices }: Attachments,
): string[] {
  if (devices.length > 0 && drives.length > DRIVES_BESIDE_DEVICES)
    throw new BadInput(`the emulated host has room for ${DRIVES_BESIDE_DEVICES} drives beside its devices`)
  return [
    ...program.dataFolders.flatMap(folder => ['-L', folder]),
    ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg,thread=multi', '-machine', 'q35,kernel-irqchip=split,memory-backend=ram', '-cpu', 'max'],
    // Room for a CPU that never comes: for a machine of one, QEMU (7.2) leaves memory barriers out of the code that it makes,
    // although devices run in other threads, and then loses notifications: an NVMe disk stood still for a minute.
    ...['-smp', `cpus=${spec.cpus},maxcpus=${spec.cpus + 1}`],
    ...['-m', String(spec.memoryMiB), '-object', memoryBackend(spec, memory)],
    ...['-kernel', spec.kernel, '-initrd', spec.initrd, '-append', spec.params],
    // Interrupt remapping makes VFIO work without unsafe interrupts; caching mode is what KVM hosts show.
    ...['-device', 'intel-iommu,intremap=on,caching-mode=on'],
    // A restored machine gets a new generation, and L1's kernel reseeds its random numbers.
    ...['-device', 'vmgenid,guid=auto'],
    ...['-chardev', `file,id=console,path=${escapeComma(paths.console)},append=on`, '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=monitor,path=${escapeComma(paths.socket('monitor'))}`],
    ...['-mon', 'chardev=monitor,mode=control'],
    ...portArguments(paths),
    ...driveArguments('bun', BUN_SLOT, { hostPath: spec.bunDisk, writable: false }),
    ...['-netdev', 'user,id=network', '-device', networkDevice('network', NETWORK_SLOT)],
    ...(haveNetworkCard(devices) ? cardNetworkArguments() : []),
    ...Array.from({ length: Math.max(DRIVE_SLOTS, drives.length) }, (_, index) =>
      driveArguments(`drive${index}`, FIRST_JOB_SLOT + index, drives[index]),
    ).flat(),
    ...placeDevices(devices).flatMap((placed, index) => deviceArguments(placed, `device${index}`)),
    ...folders.flatMap((folder, index) => folderArguments(folder, index)),
    // The monitor gives the word, after it has chosen what travels in the stream.
    ...(memory.kind === 'restore' ? ['-incoming', 'defer'] : []),
  ]
}

function memoryBackend(spec: MachineSpec, memory: Memory): string {
  const size = `id=ram,size=${spec.memoryMiB}M`
  if (memory.kind === 'open') return `memory-backend-memfd,${size},share=on`
  if (memory.kind === 'own') return `memory-backend-ram,${size}`
  const share = memory.kind === 'save' ? 'on' : 'off'
  return `memory-backend-file,${size},mem-path=${escapeComma(memory.path)},share=${share}`
}

function portArguments(paths: RunPaths): string[] {
  const bus = ['-device', 'virtio-serial-pci,id=ports,addr=02.0,max_ports=8']
  const chardev = (name: PortName) => ['-chardev', `socket,id=${name},path=${escapeComma(paths.socket(name))}`]
  const terminal = [...chardev('terminal'), '-device', 'virtconsole,bus=ports.0,nr=0,chardev=terminal']
  const streams = PORTS.flatMap((name, index) => [
    ...chardev(name),
    '-device',
    `virtserialport,bus=ports.0,nr=${index + 1},chardev=${name},name=bulkhead.${name}`,
  ])
  return [...bus, ...terminal, ...streams]
}

/**
 * A hub that joins L1 and the cards of guests. The emulator's own network is not on it: that takes whatever comes for its
 * own, and would answer for L1.
 */
function cardNetworkArguments(): string[] {
  return ['-netdev', hubPort('cards'), '-device', networkDevice('cards', CARD_NETWORK_SLOT)]
}

function networkDevice(netdev: string, slotNumber: number): string {
  return `virtio-net-pci,netdev=${netdev},romfile=,addr=${slot(slotNumber)}.0`
}

function hubPort(id: string): string {
  return `hubport,id=${id},hubid=0`
}

function deviceArguments({ device, address, isMultifunction }: PlacedDevice, id: string): string[] {
  switch (device.kind) {
    case 'edu':
      // Its own 28 bits would keep it from most of the memory that isolation is to keep it from.
      return ['-device', `edu,addr=${address},dma_mask=0xffffffff${isMultifunction ? ',multifunction=on' : ''}`]
    case 'nvme': {
      const drive = { hostPath: device.path, writable: device.writable }
      return [...blockNode(id, drive), '-device', `nvme,drive=${id},serial=bulkhead-${id},addr=${address}`]
    }
    case 'e1000e': {
      const rom = escapeComma(device.rom ?? '')
      // By it L1 knows which address to give.
      const mac = `52:54:00:00:00:${address.slice(0, 2)}`
      return ['-netdev', hubPort(id), '-device', `e1000e,netdev=${id},mac=${mac},romfile=${rom},addr=${address}`]
    }
  }
}

function driveArguments(name: string, slotNumber: number, drive: Drive | undefined): string[] {
  return [...blockNode(name, drive), '-device', `virtio-blk-pci,drive=${name},addr=${slot(slotNumber)}.0`]
}

/** A medium that a device can have; an empty one without a drive. */
function blockNode(name: string, drive: Drive | undefined): string[] {
  const empty = { driver: 'null-co', 'node-name': name, size: 512, 'read-only': true }
  // Our own lock files keep the cached images whole; QEMU's locks would refuse a file that two runs read.
  const file = drive && {
    driver: 'raw',
    'node-name': name,
    'read-only': !drive.writable,
    // What a guest discards becomes a hole here.
    ...(drive.writable ? { discard: 'unmap' } : {}),
    file: {
      driver: 'file',
      filename: drive.hostPath,
      locking: drive.writable ? 'auto' : 'off',
      ...(drive.writable ? { discard: 'unmap' } : {}),
    },
  }
  return ['-blockdev', JSON.stringify(file ?? empty)]
}

function folderArguments({ tag, socket }: SharedFolder, index: number): string[] {
  const id = `folder${index}`
  const device = `vhost-user-fs-pci,chardev=${id},tag=${escapeComma(tag)}`
  return ['-chardev', `socket,id=${id},path=${escapeComma(socket)}`, '-device', device]
}

/** A slot's number as QEMU and L1 write it. */
function slot(number: number): string {
  return number.toString(16).padStart(2, '0')
}

/** QEMU's own escape for a comma inside a key=value option. */
function escapeComma(value: string): string {
  return value.replaceAll(',', ',,')
}

/** What a machine is made of, and the check that it can be made, before anything of the host is touched. */
import { MAX_RAM, memoryMap } from '../arch/index.ts'
import { BadInput } from '../base/errors.ts'
import { type BootPlan, type BootProtocol, planBoot } from '../boot/kernel.ts'
import { findMultibootHeader } from '../boot/multiboot.ts'
import { checkDevices } from './device/check-devices.ts'
import type { DeviceConfig } from './device/kinds.ts'
import { planFirmware } from './firmware.ts'
import type { IommuConfig } from './iommu-config.ts'
import type { IommuPlan } from './iommu-plan.ts'

export type { BootProtocol } from '../boot/kernel.ts'

const MIB = 2 ** 20

/** The most vCPUs of a machine; one thread each. */
export const MAX_CPUS = 16
/** The least memory: below it no kernel format has room for its boot data. */
export const MIN_MEMORY_MIB = 2
/** 255 GiB: more than any host of test guests has, and within every guest's physical address width. */
export const MAX_MEMORY_MIB = MAX_RAM / MIB

/** A machine to build. */
export interface MachineConfig {
  readonly memoryMiB: number
  /** 1 to 16. */
  readonly cpus: number
  readonly kernel: {
    readonly image: Uint8Array
    /** How messages name the image. */
    readonly name: string
    /** Absent: by the image's format. */
    readonly protocol?: BootProtocol
  }
  /** Parts that are joined to one initrd. */
  readonly initrd?: { readonly parts: readonly Uint8Array[]; readonly name: string }
  readonly cmdline?: string
  /** Per serial port: deliver input only while the guest asserts RTS. */
  readonly flowControl?: readonly boolean[]
  /** PCI devices, in the order of their slots. */
  readonly devices?: readonly DeviceConfig[]
  /** Puts each of them behind a root port of its own: a bus, a requester ID and an IOMMU group for each. */
  readonly rootPorts?: boolean
  /**
   * Puts them behind one bridge to a conventional bus: one requester ID and one IOMMU group for all. Not together with
   * `rootPorts`.
   */
  readonly pciBridge?: boolean
  /** An IOMMU in front of devices; absent: they reach all of memory. */
  readonly iommu?: IommuConfig
  /** Offers packed virtqueues, which the guest may use in place of split ones. Default: false. */
  readonly packedRings?: boolean
  /** Takes one line about something of the host's that the guest goes on without. */
  readonly warn?: (message: string) => void
  /** Takes one line about something odd that the guest did; absent: such lines are not made. */
  readonly debug?: (message: string) => void
}

/** What goes where in guest memory, and the IOMMU as the guest's firmware describes it. */
export interface MachinePlan extends BootPlan {
  readonly iommu: IommuPlan | undefined
}

/** Checks `config` and plans the machine; throws `BadInput`. */
export function planMachine(config: MachineConfig): MachinePlan {
  const { memoryMiB, cpus, kernel, initrd, devices = [] } = config
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS)
    throw new BadInput(`a machine has 1 to ${MAX_CPUS} vCPUs, not ${cpus}: change -c`)
  if (!Number.isInteger(memoryMiB) || memoryMiB < MIN_MEMORY_MIB || memoryMiB > MAX_MEMORY_MIB)
    throw new BadInput(`memory must be ${MIN_MEMORY_MIB} to ${MAX_MEMORY_MIB} MiB, not ${memoryMiB}: change -m`)
  checkDevices(devices)
  const { rsdp, segments, deviceTree, iommu } = planFirmware(config)
  const plan = planBoot({
    image: kernel.image,
    imageName: kernel.name,
    ...(kernel.protocol === undefined ? {} : { protocol: kernel.protocol }),
    cmdline: config.cmdline ?? '',
    initrd: initrd?.parts ?? [],
    ...(initrd === undefined ? {} : { initrdName: initrd.name }),
    memoryMap: memoryMap(memoryMiB * MIB),
    rsdp,
    ...(deviceTree === undefined ? {} : { deviceTree }),
  })
  return { ...plan, segments: [...plan.segments, ...segments], iommu }
}

/** Whether a kernel image is entered by multiboot, so that it is no Linux and takes no words of ours. */
export function isMultiboot(image: Uint8Array, protocol: BootProtocol | undefined): boolean {
  return protocol === undefined ? findMultibootHeader(image) !== undefined : protocol === 'multiboot'
}

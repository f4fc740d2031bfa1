/** `--vfio` on the main thread: what all passed-through devices of a machine need of the host, opened and given back. */
import { readFileSync } from 'node:fs'
import { BadInput } from '../../base/errors.ts'
import type { Vm } from '../../kvm/vm.ts'
import { checkGroup } from '../../vfio/group-check.ts'
import { VfioGroups } from '../../vfio/groups.ts'
import { pciDevice } from '../../vfio/host-devices.ts'
import { checkMemoryLimit, memoryLimit } from '../../vfio/memory-limit.ts'
import type { VfioPlan } from '../../vfio/plan.ts'
import type { MachineConfig } from '../config.ts'
import { deviceNames } from '../device-names.ts'
import { lockedAtStart, withHosts } from '../iommu-hosts.ts'
import type { IommuPlan } from '../iommu-plan.ts'
import { assignGroups } from '../vfio-assignment.ts'
import type { OpenDevice } from './environment.ts'
import type { DevicePlan } from './kinds.ts'
import type { VfioConfig } from './vfio-config.ts'

/** PCI Firmware 3.3 §5.1.2: a ROM's length is in units of 512 bytes; no ROM BAR is larger than 16 MiB. */
const MAX_ROM_BYTES = 2 ** 24
const MIB = 2 ** 20

/** See above. Disposed of after the threads that used the devices ended. */
export class VfioResources implements Disposable {
  private readonly opened = new DisposableStack()
  private readonly groups = this.opened.use(new VfioGroups())

  open(config: VfioConfig): OpenDevice<VfioPlan> {
    const rom = readRom(config)
    const plan = { ...this.groups.open(config.address), rom }
    // All are given back together, groups after the devices in them.
    return { plan, resources: { [Symbol.asyncDispose]: () => Promise.resolve() } }
  }

  /** Tells KVM of all that are open. */
  assign(plans: readonly DevicePlan[], vm: Vm, debug: (message: string) => void): void {
    const fds = plans.flatMap(({ kind, plan }) => (kind === 'vfio' ? [(plan as VfioPlan).groupFd] : []))
    this.opened.use(assignGroups(vm, [...new Set(fds)], debug))
  }

  /**
   * The plan of the machine's IOMMU with what the host can do for the devices, when all of them are open. Throws
   * `BadInput`, also when this process may not lock as much memory as they reach from the start.
   */
  fit(plans: readonly DevicePlan[], config: MachineConfig, iommu: IommuPlan | undefined): IommuPlan | undefined {
    const names = deviceNames(config.devices ?? [])
    const hosts = plans.flatMap(({ kind, plan }, index) => {
      if (kind !== 'vfio') return []
      const { group, info } = plan as VfioPlan
      return [{ name: names[index] as string, endpoint: iommu?.endpointOf[index], group, info }]
    })
    const fitted = iommu && config.iommu && withHosts(iommu, config.iommu, hosts)
    const ramBytes = config.memoryMiB * MIB
    const locked = lockedAtStart(hosts, fitted, ramBytes)
    checkMemoryLimit(locked)
    const most = ramBytes * new Set(hosts.map(({ group }) => group)).size
    if (locked < most && memoryLimit() < most)
      config.warn?.(
        `this process may lock ${Math.floor(memoryLimit() / MIB)} MiB of memory, and the guest may map ` +
          `${Math.ceil(most / MIB)} MiB for the host's devices: mappings beyond the limit fail`,
      )
    return fitted
  }

  /** The host wants the device back, and the device thread has let go of it. */
  release(address: string): void {
    this.groups.release(address)
  }

  [Symbol.dispose](): void {
    this.opened.dispose()
  }
}

/**
 * Binds those with `bind` to vfio-pci for as long as the result lives; throws `BadInput` and leaves nothing bound. Before
 * any is opened, as a group can be had only as a whole; and given back when nobody holds them, the virtual machine
 * included, as their drivers would wait for that.
 */
export async function bindDevices(configs: readonly VfioConfig[]): Promise<Disposable> {
  using bound = new DisposableStack()
  const wanted = configs.filter(({ bind }) => bind === true)
  if (wanted.length === 0) return bound.move()
  const { withBound } = await import('../../vfio/binding.ts')
  for (const { address } of wanted) bound.use(withBound(address))
  return bound.move()
}

/**
 * Throws `BadInput` for what this host cannot give, as far as that shows without taking it; `others` are bound first,
 * where they ask for it.
 */
export function checkVfio(config: VfioConfig, others: readonly VfioConfig[] = [], sysfs = '/sys'): void {
  const device = pciDevice(config.address, sysfs)
  readRom(config)
  const willBeBound = [config, ...others].some(({ bind }) => bind === true)
  if (device.group === undefined || !willBeBound) checkGroup(device, sysfs)
}

function readRom({ address, rom }: VfioConfig): VfioPlan['rom'] {
  if (rom === undefined) return 'device'
  if (rom === 'none') return 'none'
  let bytes: Uint8Array
  try {
    bytes = readFileSync(rom.file)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new BadInput(`--vfio ${address}: cannot read the ROM ${rom.file} (${code})`, { cause })
  }
  if (bytes.length === 0 || bytes.length > MAX_ROM_BYTES)
    throw new BadInput(`--vfio ${address}: the ROM ${rom.file} must have 1 byte to 16 MiB, not ${bytes.length}`)
  return Uint8Array.from(bytes)
}

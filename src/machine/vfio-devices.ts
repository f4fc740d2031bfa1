/**
 * The machine's passed-through devices on the device thread: each one's function, and what they have in common: the
 * host's container for each group, memory of devices in the guest, and what the host's IOMMU has to say of them.
 *
 * Devices are closed before this, and an IOMMU in front of them: what is mapped in the containers goes last.
 */
import { HostError, SysError } from '../base/errors.ts'
import type { EndpointBackend } from '../iommu/endpoint-backend.ts'
import { Outcome } from '../iommu/outcome.ts'
import type { PciHost } from '../pci/host.ts'
import type { BusMate } from '../vfio/bus-reset.ts'
import { Container } from '../vfio/container.ts'
import { ContainerBackend } from '../vfio/container-backend.ts'
import { VfioFunction } from '../vfio/function.ts'
import type { HostFault } from '../vfio/host-fault-text.ts'
import { HostFaults } from '../vfio/host-faults.ts'
import { OpenedDevice } from '../vfio/opened-device.ts'
import { PeerMemory } from '../vfio/peer-memory.ts'
import type { VfioPlan } from '../vfio/plan.ts'
import type { MachineEnvironment } from './device/environment.ts'
import type { DeviceStatistics, MadeDevice } from './pci-devices.ts'

/** One device. */
export interface PassedDevice {
  /** In the machine's configuration. */
  readonly index: number
  readonly name: string
  readonly plan: VfioPlan
  /** An IOMMU of the guest's decides what it reaches; else it reaches all of RAM. */
  readonly isBehind: boolean
}

/** See above. */
export class VfioDevices implements Disposable {
  private readonly peers = new PeerMemory()
  private readonly backends = new Map<number, ContainerBackend>()
  /** By the device's address. */
  private readonly functions = new Map<string, VfioFunction>()
  /** Addresses of devices that the host has taken back. */
  private readonly gone = new Set<string>()
  private readonly opened: DisposableStack

  /** Throws `HostError` when the host cannot map what a device is to reach from the start. */
  constructor(
    private readonly devices: readonly PassedDevice[],
    private readonly environment: MachineEnvironment,
  ) {
    using opened = new DisposableStack()
    for (const { name, plan, isBehind } of devices) {
      if (this.backends.has(plan.group)) continue
      const backend = new ContainerBackend({
        name: `group ${plan.group}`,
        port: new Container(plan.containerFd, plan.info),
        blocks: environment.ram.blocks,
        peers: this.peers,
        warn: environment.warn,
      })
      opened.defer(() => void backend.move({ treatment: 'block' }))
      this.backends.set(plan.group, backend)
      if (!isBehind && backend.move({ treatment: 'bypass' }) !== Outcome.ok)
        throw new HostError(
          `the host cannot map all of the guest's memory for ${name}: ${backend.error ?? 'it says nothing more'}`,
        )
    }
    this.opened = opened.move()
  }

  /** What follows the translation of the device at `index` of the configuration. */
  backendOf(index: number): EndpointBackend | undefined {
    return this.backends.get(this.device(index).plan.group)
  }

  /** Makes the device at `index`. */
  create(index: number, host: PciHost): MadeDevice {
    const { loop, guestSpace, warn, debug, vfioNotices } = this.environment
    const { name, plan } = this.device(index)
    const made = new VfioFunction({
      name,
      device: new OpenedDevice(plan, () => this.mates()),
      host,
      space: guestSpace,
      peers: this.peers,
      loop,
      rom: plan.rom,
      warn,
      debug,
      onGone: () => this.lost(plan),
      onError: message => vfioNotices.deviceFailed(message),
    })
    this.functions.set(plan.address, made)
    return { function: made, statistics: () => this.statistics(made, plan) }
  }

  /** Watches what the host's IOMMU refuses to these devices, where the host shows it; `report` says if it took it. */
  reportFaults(report: (index: number, fault: HostFault) => boolean): void {
    const { loop, debug } = this.environment
    const onFault = (fault: HostFault) => {
      const device = this.devices.find(({ plan }) => plan.address === fault.address)
      if (device === undefined || report(device.index, fault)) return
      debug(`${device.name}: the host refuses a ${fault.access} at 0x${fault.iova.toString(16)}: ${fault.reason}`)
    }
    try {
      const onLost = () => debug("some of the host's IOMMU faults are lost: its log runs over")
      this.opened.use(HostFaults.open(loop, { onFault, onLost }))
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      debug(`the host's IOMMU faults are not seen: ${error.message}`)
    }
  }

  [Symbol.dispose](): void {
    this.opened.dispose()
  }

  /** A device is in use from the moment at which its function is made. */
  private mates(): readonly BusMate[] {
    return this.devices.map(({ plan }) => ({ ...plan, isInUse: this.functions.get(plan.address)?.isInUse === true }))
  }

  private device(index: number): PassedDevice {
    return this.devices.find(device => device.index === index) as PassedDevice
  }

  /** The host takes the device back; when it has all of a group, the kernel ends the container's translations, too. */
  private lost({ address, group }: VfioPlan): void {
    this.gone.add(address)
    const mates = this.devices.filter(({ plan }) => plan.group === group)
    if (mates.every(({ plan }) => this.gone.has(plan.address))) this.backends.get(group)?.abandon()
    this.environment.vfioNotices.deviceGone(address)
  }

  private statistics({ name, statistics }: VfioFunction, { address, group }: VfioPlan): DeviceStatistics {
    const { mappings = 0, limit = null } = this.backends.get(group)?.state() ?? {}
    const counters = { ...statistics, mappings, ...(limit === null ? {} : { mappingLimit: limit }) }
    return { name: `${name} ${address}`, notifications: 0, interrupts: 0, counters }
  }
}

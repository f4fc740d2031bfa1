/**
 * The machine's PCI devices on the device thread: built from their plans, each in its slot (slots.ts), in the order
 * of the configuration.
 */

import type { Pci } from '../arch/devices.ts'
import { assert, BadInput } from '../base/errors.ts'
import type { EndpointBackend } from '../iommu/endpoint-backend.ts'
import { IdentitySpace } from '../memory/dma-space.ts'
import type { PciFunction } from '../pci/function.ts'
import type { PciHost } from '../pci/host.ts'
import type { VfioPlan } from '../vfio/plan.ts'
import type { VirtioBalloon } from '../virtio/balloon.ts'
import type { VirtioConsole } from '../virtio/console.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import type { VirtioPci } from '../virtio/pci.ts'
import type { QueuePoller } from '../virtio/queue-poller.ts'
import type { DeviceEnvironment, MachineEnvironment } from './device/environment.ts'
import type { DeviceConfig, DevicePlan } from './device/kinds.ts'
import { deviceNames, isExpress } from './device-names.ts'
import type { IommuDevices, IommuNotices } from './iommu-devices.ts'
import type { IommuStart } from './iommu-plan.ts'
import { planPlaces, positions } from './slots.ts'
import type { VfioDevices } from './vfio-devices.ts'

type VirtioKind = Exclude<DeviceConfig['kind'], 'vfio'>

/** Makes a virtio device of one kind from its plan. */
type Create = (plan: never, environment: DeviceEnvironment) => VirtioDevice

/** One module per kind, loaded only when a machine has such a device. */
const VIRTIO: Readonly<Record<VirtioKind, () => Promise<Create>>> = {
  balloon: async () => (await import('./device/balloon-device.ts')).createBalloon,
  console: async () => (await import('./device/console-device.ts')).createConsole,
  disk: async () => (await import('./device/disk-device.ts')).createDisk,
  network: async () => (await import('./device/network-device.ts')).createNetwork,
  share: async () => (await import('./device/share-device.ts')).createShare,
  vsock: async () => (await import('./device/vsock-device.ts')).createVsock,
  rng: async () => (await import('./device/rng-device.ts')).createRng,
}

/** Builds the devices whose code has been loaded. */
export type DevicesMaker = (
  pci: Pci,
  host: PciHost,
  poller: QueuePoller,
  environment: MachineEnvironment,
  iommuNotices: IommuNotices,
) => PciDevices

/** How all devices are attached; see MachineConfig. */
export interface DevicesOptions {
  readonly rootPorts: boolean
  readonly pciBridge?: boolean
  readonly packedRings: boolean
  readonly iommu?: IommuStart | undefined
}

/** Loads the code of the devices in `plans`. */
export async function loadDevices(
  plans: readonly DevicePlan[],
  { rootPorts, pciBridge = false, packedRings, iommu: iommuPlan }: DevicesOptions,
): Promise<DevicesMaker> {
  const options = { rootPorts, pciBridge }
  const isBehind = iommuPlan?.endpointOf.map(id => id !== undefined)
  const places = planPlaces(
    plans.length,
    options,
    isBehind,
    plans.map(({ kind }) => isExpress(kind)),
    plans.map(({ kind, plan }) => (kind === 'vfio' ? (plan as VfioPlan).group : undefined)),
  )
  const iommuModule = iommuPlan === undefined ? undefined : await import('./iommu-devices.ts')
  const names = deviceNames(plans)
  const passed = plans.flatMap(({ kind, plan }, index) =>
    kind === 'vfio'
      ? [{ index, name: names[index] as string, plan: plan as VfioPlan, isBehind: isBehind?.[index] === true }]
      : [],
  )
  const vfioModule = passed.length === 0 ? undefined : await import('./vfio-devices.ts')
  const creators = await Promise.all(plans.map(loadVirtio))
  return (pci, host, poller, environment, notices) => {
    using opened = new DisposableStack()
    const devices = opened.use(new PciDevices(environment))
    const vfio = vfioModule && new vfioModule.VfioDevices(passed, environment)
    // Closed last: what the devices and the IOMMU leave mapped is taken away then.
    if (vfio !== undefined) devices.addVfio(vfio)
    const backendOf = (endpoint: number): EndpointBackend | undefined => {
      const device = passed.find(({ index }) => iommuPlan?.endpointOf[index] === endpoint)
      return device && vfio?.backendOf(device.index)
    }
    const iommu =
      iommuPlan &&
      iommuModule &&
      new iommuModule.IommuDevices(iommuPlan, { host, poller, environment, notices, packedRings, backendOf })
    // Closed after the devices behind it, as it waits for them.
    if (iommu !== undefined) devices.addIommu(iommu)
    const nextPosition = positions(pci, places, options)
    for (const [index, creator] of creators.entries()) {
      const place = iommu?.surroundingsOf(index) ?? { space: new IdentitySpace(environment.memory), host }
      if (creator === undefined) {
        const made = vfio?.create(index, place.host)
        assert(made !== undefined, 'a passed-through device has its driver')
        devices.add(made)
        pci.add(made.function, nextPosition())
        continue
      }
      const { kind, plan, create, VirtioPci } = creator
      const device = create(plan as never, environment)
      // Its transport's from then on.
      using alone = new DisposableStack()
      alone.defer(() => device.close())
      const transport = new VirtioPci({ device, ...place, packed: packedRings, poller, debug: environment.debug })
      alone.move()
      devices.addVirtio(kind, device, transport)
      pci.add(transport, nextPosition())
    }
    iommu?.plug(pci)
    vfio?.reportFaults((index, fault) => iommu?.reportHostFault(index, fault) === true)
    opened.move()
    return devices
  }
}

/** Undefined for a passed-through device. */
async function loadVirtio({ kind, plan }: DevicePlan) {
  if (kind === 'vfio') return undefined
  const [create, { VirtioPci }] = await Promise.all([VIRTIO[kind](), import('../virtio/pci.ts')])
  return { kind, plan, create, VirtioPci }
}

/** What one device did so far, for `stat`. */
export interface DeviceStatistics {
  readonly name: string
  readonly notifications: number
  readonly interrupts: number
  readonly counters: Readonly<Record<string, number>>
}

/** A device and what the machine asks of it. */
export interface MadeDevice {
  readonly function: PciFunction
  statistics(): DeviceStatistics
}

/** Takes the answer to a request. */
export type Answer = (result: unknown) => void

/** How long a guest may take to send its balloon's statistics. */
const STATISTICS_LIMIT_MS = 1000

/** The devices of a running machine. */
export class PciDevices implements Disposable {
  /** In reverse order, and each whatever becomes of the others: they have data to make safe. */
  private readonly opened = new DisposableStack()
  private readonly entries: { statistics(): DeviceStatistics }[] = []
  private console: VirtioConsole | undefined
  private balloon: VirtioBalloon | undefined
  private iommu: IommuDevices | undefined

  constructor(private readonly environment: DeviceEnvironment) {}

  add(made: MadeDevice): void {
    this.entries.push(made)
    this.opened.defer(() => made.function.close())
  }

  addVirtio(kind: VirtioKind, device: VirtioDevice, transport: VirtioPci): void {
    this.add({ function: transport, statistics: () => virtioStatistics(device, transport) })
    if (kind === 'console') this.console = device as VirtioConsole
    if (kind === 'balloon') this.balloon = device as VirtioBalloon
  }

  addIommu(iommu: IommuDevices): void {
    this.iommu = iommu
    this.entries.push({ statistics: () => virtioStatistics(iommu.device, iommu.transport) })
    this.opened.defer(() => iommu.close())
  }

  addVfio(vfio: VfioDevices): void {
    this.opened.use(vfio)
  }

  /** Answers a request of the main thread, now or later; throws `BadInput`. */
  command(method: string, params: Readonly<Record<string, unknown>>, answer: Answer): void {
    if (method.startsWith('iommu')) {
      if (this.iommu === undefined) throw new BadInput('the guest has no IOMMU: run it with --iommu all')
      answer(this.iommu.command(method, params))
      return
    }
    switch (method) {
      case 'statistics':
        answer(this.statistics())
        break
      case 'portOpen':
        this.console?.setOpen(params['port'] as number, params['isOpen'] as boolean)
        answer(null)
        break
      case 'portResize':
        this.console?.resize(params['port'] as number, params['columns'] as number, params['rows'] as number)
        answer(null)
        break
      case 'balloon':
        this.askBalloon(params['targetMiB'] as number | undefined, answer)
        break
      default:
        throw new BadInput(`the devices know no request "${method}"`)
    }
  }

  /** The main thread pushed input for the console's ports. */
  consoleInput(): void {
    for (let port = 0; port < (this.console?.portCount ?? 0); port++) this.console?.inputAvailable(port)
  }

  /** The main thread took output of the console's ports from a full ring. */
  consoleOutputRoom(): void {
    for (let port = 0; port < (this.console?.portCount ?? 0); port++) this.console?.outputRoom(port)
  }

  [Symbol.dispose](): void {
    this.opened.dispose()
  }

  private askBalloon(targetMiB: number | undefined, answer: Answer): void {
    const { balloon } = this
    if (balloon === undefined) throw new BadInput('the guest has no balloon: run it with --balloon')
    if (targetMiB !== undefined) balloon.setTarget(targetMiB)
    const state = () => ({ targetMiB: balloon.targetMiB, actualMiB: balloon.actualMiB })
    const limit = this.environment.timers.create()
    let done = false
    const finish = (statistics?: object) => {
      if (done) return
      done = true
      limit.cancel()
      answer(statistics === undefined ? state() : { ...state(), statistics })
    }
    limit.arm(STATISTICS_LIMIT_MS, () => finish())
    if (!balloon.requestStatistics(finish)) finish()
  }

  private statistics(): readonly DeviceStatistics[] {
    return this.entries.map(entry => entry.statistics())
  }
}

function virtioStatistics(device: VirtioDevice, transport: VirtioPci): DeviceStatistics {
  const { notifications, interrupts } = transport.statistics()
  return { name: device.name, notifications, interrupts, counters: device.statistics ?? {} }
}

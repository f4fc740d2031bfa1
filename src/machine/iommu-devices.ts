/**
 * The machine's IOMMU on the device thread: the core with its endpoints, the virtio device that the guest drives it by,
 * and what is asked about both.
 */
import type { Pci } from '../arch/devices.ts'
import type { EndpointBackend } from '../iommu/endpoint-backend.ts'
import { Iommu } from '../iommu/iommu.ts'
import { Access, type DmaSpace, IdentitySpace } from '../memory/dma-space.ts'
import type { PciHost } from '../pci/host.ts'
import type { HostFault } from '../vfio/host-fault-text.ts'
import { VirtioIommu } from '../virtio/iommu.ts'
import { VirtioPci } from '../virtio/pci.ts'
import type { QueuePoller } from '../virtio/queue-poller.ts'
import type { DeviceEnvironment } from './device/environment.ts'
import { iommuCommand } from './iommu-commands.ts'
import type { IommuStart } from './iommu-plan.ts'
import { TraceBatch } from './iommu-trace-batch.ts'
import type { IommuEnd } from './iommu-view.ts'
import { IOMMU_DEVICE } from './slots.ts'
import { TranslatedInterrupts } from './translated-interrupts.ts'

/** How a device behind the IOMMU reaches memory and sends interrupts. */
export interface DeviceSurroundings {
  readonly space: DmaSpace
  readonly host: PciHost
  readonly accessPlatform: true
}

/** How the main thread is told what happens at the IOMMU. */
export interface IommuNotices {
  /** Whole lines of its trace. */
  trace(lines: string): void
  /** It ends. */
  ended(last: IommuEnd): void
}

/** What the device thread gives. */
export interface IommuHost {
  readonly host: PciHost
  readonly poller: QueuePoller
  readonly environment: DeviceEnvironment
  readonly notices: IommuNotices
  /** Offers VIRTIO_F_RING_PACKED. */
  readonly packedRings: boolean
  /** What follows an endpoint's translation outside this program; undefined: nothing. */
  backendOf?(endpoint: number): EndpointBackend | undefined
}

/** See above. */
export class IommuDevices {
  readonly device: VirtioIommu
  readonly transport: VirtioPci
  private readonly iommu: Iommu
  private readonly batch: TraceBatch

  constructor(
    private readonly plan: IommuStart,
    private readonly surroundings: IommuHost,
  ) {
    const { host, poller, environment, notices, packedRings, backendOf } = surroundings
    const { memory, loop, timers, debug, warn } = environment
    const iommu = new Iommu({ ...plan.options, memory, warn })
    for (const endpoint of plan.topology.endpoints) {
      const backend = backendOf?.(endpoint.id)
      iommu.addEndpoint({ ...endpoint, ...(backend === undefined ? {} : { backend }) })
    }
    this.iommu = iommu
    this.batch = new TraceBatch({
      send: notices.trace,
      timer: timers.create(),
      startedMs: plan.startedMs,
    })
    if (plan.isTraced) this.setTracing(true)
    const { probeSize, mmio, legacyBypass } = plan
    const { domain, total } = plan.options.limits
    const limit = domain < total ? `${domain} in a domain` : total
    this.device = new VirtioIommu({
      name: 'iommu',
      iommu,
      probeSize,
      mmio,
      legacyBypass,
      defer: task => loop.defer(task),
      // Linux does not look at the answer to MAP, and its devices then fail for no reason that it could give.
      onFull: () => warn(`the IOMMU holds all the mappings that it may (${limit}): the guest's devices may fail`),
    })
    // Its own accesses are not translated, by itself or anybody (VIRTIO 1.2 §5.13.3).
    const space = new IdentitySpace(memory)
    this.transport = new VirtioPci({ device: this.device, space, host, packed: packedRings, poller, debug })
  }

  /** Plugs it in: on the root bus, behind no bridge. */
  plug(pci: Pci): void {
    pci.add(this.transport, { device: IOMMU_DEVICE })
  }

  /** For the device at `index` of the configuration; undefined when it is not behind the IOMMU. */
  surroundingsOf(index: number): DeviceSurroundings | undefined {
    const { host, environment } = this.surroundings
    const id = this.plan.endpointOf[index]
    const endpoint = id === undefined ? undefined : this.iommu.endpoint(id)
    if (endpoint === undefined) return undefined
    const { space, name } = endpoint
    const debug = (message: string) => environment.debug(`${name}: ${message}`)
    return { space, host: new TranslatedInterrupts(host, space, debug), accessPlatform: true }
  }

  /** The host's IOMMU refused an access of the device at `index` of the configuration; false: it is not behind this. */
  reportHostFault(index: number, { access, iova, reason }: HostFault): boolean {
    const id = this.plan.endpointOf[index]
    if (id === undefined) return false
    return this.iommu.reportHostFault(id, { access: Access[access], address: iova, detail: reason })
  }

  /** Answers a request of the main thread; throws `BadInput`. */
  command(method: string, params: Readonly<Record<string, unknown>>): unknown {
    const { iommu, device } = this
    return iommuCommand({ iommu, device, setTracing: on => this.setTracing(on) }, method, params)
  }

  /** Ends the device, and hands over what is left to tell. */
  close(): void {
    const { iommu, device, batch } = this
    const state = { ...iommu.state(), device: device.statistics }
    try {
      this.transport.close()
    } finally {
      batch.flush()
      this.surroundings.notices.ended({ state, findings: device.findings })
    }
  }

  private setTracing(on: boolean): void {
    if (on) this.batch.start(this.iommu.state())
    this.iommu.tracer = on ? this.batch.trace : undefined
  }
}

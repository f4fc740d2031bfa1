/**
 * IOMMU device. VIRTIO 1.2 §5.13: the wire protocol in front of the core in src/iommu. Two queues: requests, which are
 * served one after another, and events, by which faults are told.
 *
 * A request may have to wait until other devices do not use what it takes away; the ones behind it wait with it, and
 * answers in front of it do not. Where the device has a choice it is strict, and says what it saw (iommu-findings.ts).
 * Left out: everything that came after 1.2.
 */
import { hex, type IommuTracer } from '../iommu/events.ts'
import type { Fault } from '../iommu/fault.ts'
import type { Iommu } from '../iommu/iommu.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_IOMMU } from './ids.ts'
import { DriverConduct } from './iommu-conduct.ts'
import { Drop, FaultReporter } from './iommu-events.ts'
import { type IommuFinding, IommuFindings } from './iommu-findings.ts'
import { Negotiated } from './iommu-negotiated.ts'
import {
  CONFIG_BYPASS,
  encodeIommuConfig,
  STATUS_NAMES,
  STATUS_OF,
  TYPE_NAMES,
  VIRTIO_IOMMU_F_BYPASS,
  VIRTIO_IOMMU_F_BYPASS_CONFIG,
  VIRTIO_IOMMU_F_DOMAIN_RANGE,
  VIRTIO_IOMMU_F_INPUT_RANGE,
  VIRTIO_IOMMU_F_MAP_UNMAP,
  VIRTIO_IOMMU_F_MMIO,
  VIRTIO_IOMMU_F_PROBE,
  VIRTIO_IOMMU_S_NOMEM,
  VIRTIO_IOMMU_S_OK,
  VIRTIO_IOMMU_T_ATTACH,
  VIRTIO_IOMMU_T_DETACH,
  VIRTIO_IOMMU_T_MAP,
  VIRTIO_IOMMU_T_PROBE,
  VIRTIO_IOMMU_T_UNMAP,
} from './iommu-protocol.ts'
import { IommuReply } from './iommu-reply.ts'
import { IommuRequest } from './iommu-request.ts'
import { requestEvent } from './iommu-request-event.ts'
import { ASKED, RequestServer, UNANSWERABLE } from './iommu-server.ts'
import { Chain, type VirtQueue } from './queue.ts'

const REQUESTS = 0
const EVENTS = 1
const QUEUE_SIZES = [256, 64]
/** Requests of one event, before other devices get their turn. */
const BATCH = 128
/** Not classified (base class 00), other: as QEMU has it. */
const CLASS_CODE = 0x00ff00

/** What an IOMMU device is made of. */
export interface VirtioIommuOptions {
  readonly name: string
  readonly iommu: Iommu
  /** Bytes of properties that PROBE gives: a multiple of 8, with 24 for each reserved region. 0: there is no PROBE. */
  readonly probeSize: number
  /** Offers VIRTIO_IOMMU_F_MMIO. */
  readonly mmio: boolean
  /** Offers VIRTIO_IOMMU_F_BYPASS in the place of VIRTIO_IOMMU_F_BYPASS_CONFIG. */
  readonly legacyBypass: boolean
  /** Runs a task when the present event has been served. */
  readonly defer: (task: () => void) => void
  /** Told of the first breach of each rule. */
  readonly onFinding?: (finding: IommuFinding) => void
  /** Told when a request is answered with NOMEM for the first time, unless it is a back end that has no room. */
  readonly onFull?: () => void
}

/** The device. */
export class VirtioIommu implements VirtioDevice {
  readonly id = VIRTIO_ID_IOMMU
  readonly name: string
  readonly classCode = CLASS_CODE
  readonly features: bigint
  readonly queueSizes = QUEUE_SIZES
  private readonly iommu: Iommu
  private readonly configBytes: Uint8Array
  private readonly breaches: IommuFindings
  private readonly conduct: DriverConduct
  private readonly server: RequestServer
  private readonly reporter = new FaultReporter()
  private readonly counts = {
    attaches: 0,
    detaches: 0,
    maps: 0,
    unmaps: 0,
    probes: 0,
    others: 0,
    failures: 0,
    faults: 0,
    drops: 0,
  }
  private readonly request = new IommuRequest()
  private host: VirtioHost | undefined
  private negotiated = new Negotiated(0n)
  private chain: Chain | undefined
  /** `request` is in hand: popped and not answered. */
  private hasRequest = false
  private reply: IommuReply
  /** The queue whose chain is held over more than one event. */
  private pinning: VirtQueue | undefined
  /** The trace has the request, so it gets the answer too. */
  private isTraced = false
  /** When it was read. */
  private readAt = 0
  private isRunning = false
  private isDeferred = false
  private wasFull = false
  /** Ends a reset of the request queue that waits for the core. */
  private queueIsIdle: (() => void) | undefined

  constructor(private readonly options: VirtioIommuOptions) {
    const { name, iommu, probeSize, mmio, legacyBypass, onFinding } = options
    this.name = name
    this.iommu = iommu
    this.features =
      VIRTIO_IOMMU_F_INPUT_RANGE |
      VIRTIO_IOMMU_F_DOMAIN_RANGE |
      VIRTIO_IOMMU_F_MAP_UNMAP |
      (probeSize > 0 ? VIRTIO_IOMMU_F_PROBE : 0n) |
      (mmio ? VIRTIO_IOMMU_F_MMIO : 0n) |
      // §5.13.3.2: never both.
      (legacyBypass ? VIRTIO_IOMMU_F_BYPASS : VIRTIO_IOMMU_F_BYPASS_CONFIG)
    const { granule, input, domains } = iommu.options
    this.configBytes = encodeIommuConfig({ granule, input, domains, probeSize })
    this.breaches = new IommuFindings(
      finding => {
        this.host?.log(`the driver breaks ${finding.section} (${finding.name}): ${finding.text}`)
        onFinding?.(finding)
      },
      () => this.tracer,
    )
    this.conduct = new DriverConduct(iommu, probeSize, this.breaches)
    this.server = new RequestServer({ iommu, probeSize, conduct: this.conduct })
    this.reply = new IommuReply(this.onLate)
    iommu.onFault = fault => this.report(fault)
    // §5.13.6: with the old feature endpoints bypass the IOMMU while a driver has accepted it, and not before.
    if (legacyBypass) iommu.bypass = false
  }

  get config(): Uint8Array {
    this.configBytes[CONFIG_BYPASS] = !this.options.legacyBypass && this.iommu.bypass ? 1 : 0
    return this.configBytes
  }

  get statistics(): Readonly<Record<string, number>> {
    return { ...this.counts, findings: this.breaches.total }
  }

  /** Rules that the guest's drivers broke, in the order of the first breaches; plain data. */
  get findings(): readonly IommuFinding[] {
    return this.breaches.list
  }

  /** §5.13.4.1: `bypass` may be written, if that was negotiated, and nothing else. */
  writeConfig(offset: number, size: number, value: number): void {
    const { breaches } = this
    const text = () => `${size} bytes at ${offset} of the configuration are written with 0x${value.toString(16)}`
    const shift = CONFIG_BYPASS - offset
    if (shift < 0 || shift >= size) {
      breaches.add('config-read-only', text)
      return
    }
    const bypass = (value >>> (8 * shift)) & 0xff
    if (size > 1) breaches.add('config-read-only', text)
    if (!this.negotiated.bypassConfig) breaches.add('bypass-not-negotiated', text)
    else if (bypass > 1) breaches.add('bypass-value', text)
    else {
      this.iommu.bypass = bypass === 1
      this.tracer?.({ type: 'bypass', value: String(bypass) })
    }
  }

  acceptFeatures(features: bigint): boolean {
    this.negotiated = new Negotiated(features)
    return true
  }

  forgetFeatures(): void {
    this.negotiated = new Negotiated(0n)
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.negotiated = new Negotiated(host.features)
    if (this.options.legacyBypass) this.iommu.bypass = this.negotiated.bypass
    this.conduct.start(this.features, this.negotiated)
    this.tracer?.({ type: 'features', value: `0x${host.features.toString(16)}` })
  }

  notify(index: number): void {
    if (index === REQUESTS) this.run()
    // New event buffers are found when there is an event.
    else this.host?.queue(EVENTS)?.suppressNotifications()
  }

  /** §5.13.5: no endpoint is attached afterwards. `bypass` stays as it is (§5.13.4.2). */
  reset(done: () => void): void {
    const { iommu } = this
    this.host = undefined
    this.forgetFeatures()
    this.drop()
    this.conduct.reset()
    this.tracer?.({ type: 'reset' })
    // Before endpoints leave their domains: nobody has accepted the feature any more.
    if (this.options.legacyBypass) iommu.bypass = false
    iommu.reset(done)
  }

  resetQueue(index: number, done: () => void): void {
    if (index !== REQUESTS || !this.drop()) done()
    else this.queueIsIdle = done
  }

  close(): void {
    this.host = undefined
    this.drop()
    this.iommu.onFault = () => {}
  }

  private get tracer(): IommuTracer | undefined {
    return this.iommu.tracer
  }

  /** Nobody waits for the answer to the request in hand any more; true if the core has not given it yet. */
  private drop(): boolean {
    const isWaiting = this.hasRequest && this.reply.outcome === undefined
    this.hasRequest = false
    this.isTraced = false
    this.unpin()
    if (isWaiting) this.reply = new IommuReply(this.onLate)
    return isWaiting
  }

  /** The core answers after all. Requests go on when whoever it waited for has finished its own work. */
  private readonly onLate = (reply: IommuReply): void => {
    if (reply === this.reply) {
      this.runLater()
      return
    }
    const done = this.queueIsIdle
    this.queueIsIdle = undefined
    done?.()
  }

  /** Serves requests in their order, until there are none, one waits, or others should have their turn. */
  private run(): void {
    const queue = this.host?.queue(REQUESTS)
    if (queue === undefined || this.isRunning) return
    this.isRunning = true
    this.chain ??= new Chain(queue.space)
    queue.suppressNotifications()
    let more = !this.hasRequest || this.finishLate(queue)
    for (let count = 0; more && !this.hasRequest; count++) {
      if (count === BATCH) {
        this.runLater()
        break
      }
      more = this.take(queue, this.chain)
      if (more) this.start(queue, this.chain)
    }
    // When a request waits, the answers before it do not.
    queue.flush()
    this.isRunning = false
  }

  /** Once, however often a driver notifies meanwhile. */
  private runLater(): void {
    if (this.isDeferred) return
    this.isDeferred = true
    this.options.defer(() => {
      this.isDeferred = false
      this.run()
    })
  }

  private take(queue: VirtQueue, chain: Chain): boolean {
    if (queue.pop(chain)) return true
    // Drivers look for their answers without end and without interrupts: first they get what there is.
    queue.flush()
    return queue.requestNotifications() && queue.pop(chain)
  }

  private start(queue: VirtQueue, chain: Chain): void {
    const { request, tracer } = this
    request.read(chain)
    this.hasRequest = true
    if (tracer !== undefined) {
      this.readAt = performance.now()
      this.isTraced = true
      tracer(requestEvent(request))
    }
    const { reply } = this
    const status = this.server.serve(request, this.negotiated, chain.writable, reply.ask())
    if (status !== ASKED) this.answer(queue, chain, status)
    else if (reply.outcome !== undefined) this.answer(queue, chain, STATUS_OF[reply.outcome])
    else {
      reply.isLate = true
      chain.isPinned = true
      this.pinning = queue
    }
  }

  /** The rest of a request that had to wait; false while it still has to. */
  private finishLate(queue: VirtQueue): boolean {
    const { outcome } = this.reply
    if (outcome === undefined) return false
    this.answer(queue, this.chain as Chain, STATUS_OF[outcome])
    this.unpin()
    return true
  }

  private unpin(): void {
    const { chain, pinning } = this
    if (chain === undefined || pinning === undefined) return
    chain.isPinned = false
    this.pinning = undefined
    pinning.space.released()
  }

  private answer(queue: VirtQueue, chain: Chain, status: number): void {
    const { request, server, tracer } = this
    this.hasRequest = false
    this.count(request.type)
    if (status !== VIRTIO_IOMMU_S_OK) this.fail(status)
    const written = status === UNANSWERABLE ? 0 : server.finish(request, status, chain.writable)
    queue.push(chain, written)
    if (tracer === undefined || !this.isTraced) return
    this.isTraced = false
    const us = Math.max(0, Math.round((performance.now() - this.readAt) * 1000))
    const { seq } = request
    const name = STATUS_NAMES[status]
    tracer({ type: 'reply', seq, ...(name === undefined ? {} : { status: name }), written, us })
  }

  private count(type: number): void {
    const { counts } = this
    if (type === VIRTIO_IOMMU_T_MAP) counts.maps++
    else if (type === VIRTIO_IOMMU_T_UNMAP) counts.unmaps++
    else if (type === VIRTIO_IOMMU_T_ATTACH) counts.attaches++
    else if (type === VIRTIO_IOMMU_T_DETACH) counts.detaches++
    else if (type === VIRTIO_IOMMU_T_PROBE) counts.probes++
    else counts.others++
  }

  private fail(status: number): void {
    const { request } = this
    this.counts.failures++
    if (status === UNANSWERABLE) return
    this.conduct.refused(request, this.negotiated)
    // Drivers may not look at the status (Linux does not, of MAP): then nobody but this log tells.
    this.host?.log(`${TYPE_NAMES[request.type]} is answered with ${STATUS_NAMES[status]}`)
    if (status !== VIRTIO_IOMMU_S_NOMEM || this.wasFull || !this.iommu.isFull(request.domain)) return
    this.wasFull = true
    this.options.onFull?.()
  }

  private report(fault: Fault): void {
    const { counts, breaches } = this
    counts.faults++
    const cause = this.reporter.report(this.host?.queue(EVENTS), fault)
    if (cause === undefined) return
    counts.drops++
    this.host?.log(`a fault is dropped: ${cause}`)
    if (cause === Drop.smallBuffer) breaches.add('event-buffer-size', () => cause)
    this.tracer?.({ type: 'drop', endpoint: fault.endpoint, address: hex(fault.address), cause })
  }
}

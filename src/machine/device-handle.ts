/** The device thread as the main thread sees it: its start and end, flags and requests to it, messages from it. */
import { BadInput, HostError } from '../base/errors.ts'
import type { EventFd } from '../host/eventfd.ts'
import { ByteRing } from './byte-ring.ts'
import { CommandSender } from './device-commands.ts'
import { DeviceControl, DeviceRequest } from './device-control.ts'
import type { IommuEnd } from './iommu-view.ts'
import type { DeviceEvent, FromDevices, SharedState, StartDevices } from './messages.ts'
import { MachineWorker } from './worker.ts'

/** What the device thread has to say. */
export interface DeviceListener {
  output(console: number): void
  inputRoom(console: number): void
  portOutput(port: number): void
  portInputRoom(port: number): void
  portOpened(port: number, isOpen: boolean): void
  event(event: DeviceEvent): void
  log(message: string): void
  warning(message: string): void
  /** Whole lines of the IOMMU's trace. */
  iommuTrace(lines: string): void
  iommuEnded(last: IommuEnd): void
  /** The host wants a passed-through device back. */
  deviceGone(address: string): void
  failed(message: string): void
}

interface Pending {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** One device thread. */
export class DeviceHandle {
  private readonly worker: MachineWorker<StartDevices, FromDevices>
  private readonly control: DeviceControl
  private readonly commands: CommandSender
  private readonly pending = new Map<number, Pending>()
  private nextId = 1
  private doorbell: EventFd | undefined
  /** The thread has said its last word. */
  private gone = false

  constructor(
    shared: SharedState,
    private readonly listener: DeviceListener,
  ) {
    this.control = new DeviceControl(shared.device)
    this.commands = new CommandSender(new ByteRing(shared.commands))
    this.worker = new MachineWorker('device-worker', message => this.receive(message))
  }

  /** Builds the devices; resolves when they are there, or have failed (which the listener has been told). */
  async start(doorbell: EventFd, start: StartDevices): Promise<void> {
    this.doorbell = doorbell
    const ready = Promise.race([this.worker.next('ready'), this.worker.next('failed')])
    this.worker.start(start)
    await ready
  }

  /** Sets flags of `DeviceRequest` and wakes the thread. */
  request(flags: number): void {
    this.control.request(flags)
    this.doorbell?.signal()
  }

  /** Asks the devices something; rejects with `BadInput` when they refuse, with `HostError` when they are gone. */
  command(method: string, params: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.gone || this.doorbell === undefined) return Promise.reject(new HostError('the guest does not run'))
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      if (!this.commands.send({ id, method, params })) {
        reject(new HostError('the devices are too busy to answer'))
        return
      }
      this.pending.set(id, { resolve, reject })
      this.request(DeviceRequest.command)
    })
  }

  /** Ends the thread's loop; it has given everything back when this resolves. */
  async stop(): Promise<void> {
    if (this.gone || this.doorbell === undefined) return
    const stopped = Promise.race([this.worker.next('stopped'), this.worker.next('failed')])
    this.request(DeviceRequest.stop)
    await stopped
  }

  /** Ends the thread itself; one that cannot end, as the kernel still works for it, is left to the process's end. */
  async end(cannotEnd: boolean): Promise<void> {
    if (cannotEnd) this.worker.abandon()
    else await this.worker.end()
    this.doorbell = undefined
    for (const { reject } of this.pending.values()) reject(new HostError('the guest has ended'))
    this.pending.clear()
  }

  private receive(message: FromDevices): void {
    switch (message.type) {
      case 'output':
        this.listener.output(message.console)
        break
      case 'inputRoom':
        this.listener.inputRoom(message.console)
        break
      case 'portOutput':
        this.listener.portOutput(message.port)
        break
      case 'portInputRoom':
        this.listener.portInputRoom(message.port)
        break
      case 'portOpened':
        this.listener.portOpened(message.port, message.isOpen)
        break
      case 'log':
        this.listener.log(message.message)
        break
      case 'warning':
        this.listener.warning(message.message)
        break
      case 'iommuTrace':
        this.listener.iommuTrace(message.lines)
        break
      case 'iommuEnded':
        this.listener.iommuEnded(message.last)
        break
      case 'deviceGone':
        this.listener.deviceGone(message.address)
        break
      case 'deviceFailed':
        this.listener.failed(message.message)
        break
      case 'event':
        this.listener.event(message.event)
        break
      case 'answer':
        this.take(message.id)?.resolve(message.result)
        break
      case 'refusal':
        this.take(message.id)?.reject(new BadInput(message.message))
        break
      case 'failed':
        this.gone = true
        this.listener.failed(message.message)
        break
      case 'stopped':
        this.gone = true
        break
      default:
    }
  }

  private take(id: number): Pending | undefined {
    if (this.commands.flush()) this.request(DeviceRequest.command)
    const pending = this.pending.get(id)
    this.pending.delete(id)
    return pending
  }
}

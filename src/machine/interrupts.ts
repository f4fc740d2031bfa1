/**
 * Interrupts and doorbells of PCI functions, by KVM: an irqfd per vector with a route in the GSI table, an irqfd with
 * resampling per interrupt line, an ioeventfd per doorbell. Belongs to the device thread.
 */
import { FIRST_MSI_GSI, pciLineGsi, pinRoutes } from '../arch/devices.ts'
import { SysError } from '../base/errors.ts'
import { type InterruptLine, SharedLine } from '../bus/interrupt-line.ts'
import { EPOLLET, EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import type { GsiRoute, Vm } from '../kvm/vm.ts'
import type { Doorbell, LevelInterrupt, MsiMessage, MsiVector, PciHost } from '../pci/host.ts'

/** Takes one line that the user should see. */
type Warn = (message: string) => void

/**
 * What PCI functions get of KVM. A guest decides how many doorbells there are and where vectors lead, so what the host
 * refuses then is told and done without: a notification comes by an exit to the BAR, a message is not sent.
 */
export class KvmPciHost implements PciHost, Disposable {
  private readonly routing: GsiRouting
  private readonly lines = new Map<number, KvmLine>()
  private readonly warn: Warn

  constructor(
    private readonly vm: Vm,
    private readonly loop: EventLoop,
    warn: Warn = () => {},
  ) {
    this.routing = new GsiRouting(vm)
    const said = new Set<string>()
    this.warn = message => {
      if (said.has(message)) return
      said.add(message)
      warn(message)
    }
  }

  createVector(): MsiVector {
    return new KvmVector(this.vm, this.routing, this.warn)
  }

  line(device: number, pin: number): InterruptLine {
    const gsi = pciLineGsi(device, pin)
    let line = this.lines.get(gsi)
    if (line === undefined) {
      line = new KvmLine(this.vm, this.loop, gsi)
      this.lines.set(gsi, line)
    }
    return line.shared.input()
  }

  createLevelInterrupt(device: number, pin: number): LevelInterrupt {
    return new KvmLevelInterrupt(this.vm, pciLineGsi(device, pin))
  }

  createDoorbell(onRing: () => void): Doorbell {
    try {
      return new KvmDoorbell(this.vm, this.loop, onRing, this.warn)
    } catch (error) {
      this.warn(`a queue's notifications are slow: ${reason(error)}`)
      return NO_DOORBELL
    }
  }

  /** Gives the lines back; vectors and doorbells belong to those who asked for them. */
  [Symbol.dispose](): void {
    for (const line of this.lines.values()) line[Symbol.dispose]()
    this.lines.clear()
  }
}

/** The host's refusal of a system call; anything else is our own fault, and goes on. */
function reason(error: unknown): string {
  if (error instanceof SysError) return error.message
  throw error
}

/** Of a queue whose notifications all come by the BAR. */
const NO_DOORBELL: Doorbell = { fd: -1, place() {}, close() {} }

/** The table that says where each GSI leads. KVM takes it only as a whole. */
class GsiRouting {
  private readonly pins = pinRoutes()
  private readonly messages = new Map<number, MsiMessage>()
  private readonly free: number[] = []
  private next = FIRST_MSI_GSI

  constructor(private readonly vm: Vm) {}

  allocate(): number {
    return this.free.pop() ?? this.next++
  }

  release(gsi: number): void {
    this.messages.delete(gsi)
    this.free.push(gsi)
  }

  set(gsi: number, message: MsiMessage): void {
    const present = this.messages.get(gsi)
    if (present?.address === message.address && present.data === message.data) return
    const messages = new Map(this.messages).set(gsi, message)
    const routes: GsiRoute[] = [...this.pins]
    for (const [number, { address, data }] of messages) routes.push({ gsi: number, address, data })
    this.vm.setGsiRouting(routes)
    // Only what KVM has taken.
    this.messages.set(gsi, message)
  }
}

class KvmVector implements MsiVector {
  private readonly event = EventFd.create()
  private readonly gsi: number
  private connected = false

  constructor(
    private readonly vm: Vm,
    private readonly routing: GsiRouting,
    private readonly warn: Warn,
  ) {
    this.gsi = routing.allocate()
  }

  get fd(): number {
    return this.event.fd
  }

  trigger(): void {
    this.event.signal()
  }

  connect(message: MsiMessage | undefined): void {
    if (message === undefined) {
      this.disconnect()
      return
    }
    try {
      // The route first: KVM delivers what is pending in the eventfd as soon as the two are connected.
      this.routing.set(this.gsi, message)
      if (!this.connected) this.vm.addIrqfd(this.fd, this.gsi)
      this.connected = true
    } catch (error) {
      this.warn(`an interrupt of the guest is not sent: ${reason(error)}`)
      // Not by its former route either.
      this.disconnect()
    }
  }

  get pending(): boolean {
    // Connected, KVM takes every signal at once. Else nobody but us reads the counter, so it can be put back.
    if (this.connected || this.event.take() === 0) return false
    this.event.signal()
    return true
  }

  clear(): void {
    if (!this.connected) this.event.take()
  }

  close(): void {
    this.disconnect()
    this.routing.release(this.gsi)
    this.event[Symbol.dispose]()
  }

  private disconnect(): void {
    if (this.connected) this.vm.removeIrqfd(this.fd, this.gsi)
    this.connected = false
  }
}

/**
 * A level-triggered line: a signal raises it, KVM lowers it at the guest's end of interrupt and says so through the
 * resample eventfd, and then it is raised again for as long as a device wants it high.
 */
class KvmLine implements Disposable {
  /** For the functions that share the line. */
  readonly shared = new SharedLine({ set: level => this.set(level) })
  private readonly trigger = EventFd.create()
  private readonly resample = EventFd.create()
  private high = false

  constructor(
    private readonly vm: Vm,
    private readonly loop: EventLoop,
    private readonly gsi: number,
  ) {
    vm.addIrqfd(this.trigger.fd, gsi, this.resample.fd)
    loop.watch(this.resample.fd, EPOLLIN | EPOLLET, () => {
      if (this.high) this.trigger.signal()
    })
  }

  [Symbol.dispose](): void {
    this.vm.removeIrqfd(this.trigger.fd, this.gsi)
    this.loop.unwatch(this.resample.fd)
    this.resample[Symbol.dispose]()
    this.trigger[Symbol.dispose]()
  }

  private set(level: boolean): void {
    this.high = level
    if (level) this.trigger.signal()
  }
}

/**
 * A level-triggered line for somebody outside. KVM keeps one level for all sources with resampling of a GSI, lowers it at
 * the guest's end of interrupt and tells each of them, so lines with several sources need nothing more.
 */
class KvmLevelInterrupt implements LevelInterrupt {
  private readonly trigger = EventFd.create()
  private readonly resample = EventFd.create()

  constructor(
    private readonly vm: Vm,
    private readonly gsi: number,
  ) {
    try {
      vm.addIrqfd(this.fd, gsi, this.resampleFd)
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  get fd(): number {
    return this.trigger.fd
  }

  get resampleFd(): number {
    return this.resample.fd
  }

  close(): void {
    this.vm.removeIrqfd(this.fd, this.gsi)
    this.dispose()
  }

  private dispose(): void {
    this.resample[Symbol.dispose]()
    this.trigger[Symbol.dispose]()
  }
}

class KvmDoorbell implements Doorbell {
  private readonly event = EventFd.create()
  private address: number | undefined

  constructor(
    private readonly vm: Vm,
    private readonly loop: EventLoop,
    onRing: () => void,
    private readonly warn: Warn,
  ) {
    try {
      // Edge-triggered, so the counter need not be read: one system call less per notification.
      loop.watch(this.event.fd, EPOLLIN | EPOLLET, onRing)
    } catch (error) {
      this.event[Symbol.dispose]()
      throw error
    }
  }

  get fd(): number {
    return this.event.fd
  }

  place(address: number | undefined): void {
    if (address === this.address) return
    if (this.address !== undefined) this.vm.removeIoEvent({ fd: this.fd, address: this.address, size: 0 })
    this.address = undefined
    if (address === undefined) return
    try {
      this.vm.addIoEvent({ fd: this.fd, address, size: 0 })
      this.address = address
    } catch (error) {
      this.warn(`a queue's notifications are slow: ${reason(error)}`)
    }
  }

  close(): void {
    this.place(undefined)
    this.loop.unwatch(this.event.fd)
    this.event[Symbol.dispose]()
  }
}

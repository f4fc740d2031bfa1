/**
 * Interrupts and doorbells of PCI functions, by KVM: an irqfd per vector with a route in the GSI table, an irqfd with
 * resampling per interrupt line, an ioeventfd per doorbell. Belongs to the device thread.
 */
import { FIRST_MSI_GSI, pciLineGsi, pinRoutes } from '../arch/devices.ts'
import { type InterruptLine, SharedLine } from '../bus/interrupt-line.ts'
import { EPOLLET, EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import type { GsiRoute, Vm } from '../kvm/vm.ts'
import type { Doorbell, MsiMessage, MsiVector, PciHost } from '../pci/host.ts'

/** What PCI functions get of KVM. */
export class KvmPciHost implements PciHost {
  private readonly routing: GsiRouting
  private readonly lines = new Map<number, SharedLine>()

  constructor(
    private readonly vm: Vm,
    private readonly loop: EventLoop,
  ) {
    this.routing = new GsiRouting(vm)
  }

  createVector(): MsiVector {
    return new KvmVector(this.vm, this.routing)
  }

  line(device: number, pin: number): InterruptLine {
    const gsi = pciLineGsi(device, pin)
    let shared = this.lines.get(gsi)
    if (shared === undefined) {
      shared = new SharedLine(resampledLine(this.vm, this.loop, gsi))
      this.lines.set(gsi, shared)
    }
    return shared.input()
  }

  createDoorbell(onRing: () => void): Doorbell {
    return new KvmDoorbell(this.vm, this.loop, onRing)
  }
}

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
    this.messages.set(gsi, message)
    const routes: GsiRoute[] = [...this.pins]
    for (const [number, { address, data }] of this.messages) routes.push({ gsi: number, address, data })
    this.vm.setGsiRouting(routes)
  }
}

class KvmVector implements MsiVector {
  private readonly event = EventFd.create()
  private readonly gsi: number
  private connected = false

  constructor(
    private readonly vm: Vm,
    private readonly routing: GsiRouting,
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
      if (this.connected) this.vm.removeIrqfd(this.fd, this.gsi)
      this.connected = false
      return
    }
    // The route first: KVM delivers what is pending in the eventfd as soon as the two are connected.
    this.routing.set(this.gsi, message)
    if (!this.connected) this.vm.addIrqfd(this.fd, this.gsi)
    this.connected = true
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
    this.connect(undefined)
    this.routing.release(this.gsi)
    this.event[Symbol.dispose]()
  }
}

/**
 * A level-triggered line: a signal raises it, KVM lowers it at the guest's end of interrupt and says so through the
 * resample eventfd, and then it is raised again for as long as a device wants it high.
 */
function resampledLine(vm: Vm, loop: EventLoop, gsi: number): InterruptLine {
  const trigger = EventFd.create()
  const resample = EventFd.create()
  let high = false
  vm.addIrqfd(trigger.fd, gsi, resample.fd)
  loop.watch(resample.fd, EPOLLIN | EPOLLET, () => {
    if (high) trigger.signal()
  })
  return {
    set: level => {
      high = level
      if (level) trigger.signal()
    },
  }
}

class KvmDoorbell implements Doorbell {
  private readonly event = EventFd.create()
  private address: number | undefined

  constructor(
    private readonly vm: Vm,
    private readonly loop: EventLoop,
    onRing: () => void,
  ) {
    // Edge-triggered, so the counter need not be read: one system call less per notification.
    loop.watch(this.event.fd, EPOLLIN | EPOLLET, onRing)
  }

  get fd(): number {
    return this.event.fd
  }

  place(address: number | undefined): void {
    if (address === this.address) return
    if (this.address !== undefined) this.vm.removeIoEvent({ fd: this.fd, address: this.address, size: 0 })
    this.address = address
    if (address !== undefined) this.vm.addIoEvent({ fd: this.fd, address, size: 0 })
  }

  close(): void {
    this.place(undefined)
    this.loop.unwatch(this.event.fd)
    this.event[Symbol.dispose]()
  }
}

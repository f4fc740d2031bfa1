/** A virtual machine's descriptor: memory slots, interrupts, event descriptors, vCPUs. */

import { setU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { closeFd } from '../host/fd.ts'
import { ioctl, ioctlValue } from '../host/ioctl.ts'
import { DeviceFd } from './device-fd.ts'
import * as s from './structs.ts'
import * as k from './uapi.ts'
import { Vcpu } from './vcpu.ts'

/** A guest-physical range backed by memory of this process; `size` 0 removes the slot. */
export interface MemorySlot {
  readonly slot: number
  readonly guestAddress: number
  readonly sizeBytes: number
  readonly hostAddress: number
  readonly readOnly?: boolean
}

/** An address whose writes signal `fd` in place of leaving the guest. */
export interface IoEvent {
  readonly fd: number
  readonly address: number
  /** Access size in bytes: 0 (any), 1, 2, 4 or 8. */
  readonly size: number
  readonly port?: boolean
  /** Only writes of this value; absent: any value. */
  readonly match?: number
}

/** Where a GSI leads: a pin of an in-kernel interrupt controller, or a message. */
export type GsiRoute =
  | { readonly gsi: number; readonly irqchip: number; readonly pin: number }
  | { readonly gsi: number; readonly address: number; readonly data: number }

/** One virtual machine. Calls that take no state of their own may be made from any thread. */
export class Vm {
  private readonly irqLevel = new CBuffer(s.kvm_irq_level.size)
  private readonly msi = new CBuffer(s.kvm_msi.size)

  /** Wraps a VM descriptor; a Worker makes its own `Vm` from the same `fd`. */
  constructor(
    readonly fd: number,
    readonly runPageSize: number,
  ) {}

  createVcpu(id: number): Vcpu {
    return Vcpu.create(ioctlValue('KVM_CREATE_VCPU', this.fd, k.KVM_CREATE_VCPU, id), this.runPageSize)
  }

  setMemory(region: MemorySlot): void {
    const { size, offset } = s.kvm_userspace_memory_region
    const argument = new CBuffer(size)
    argument.view.setUint32(offset.slot, region.slot, true)
    argument.view.setUint32(offset.flags, region.readOnly === true ? k.KVM_MEM_READONLY : 0, true)
    setU64(argument.view, offset.guestPhysAddr, region.guestAddress)
    setU64(argument.view, offset.memorySize, region.sizeBytes)
    setU64(argument.view, offset.userspaceAddr, region.hostAddress)
    ioctl('KVM_SET_USER_MEMORY_REGION', this.fd, k.KVM_SET_USER_MEMORY_REGION, argument)
  }

  /** Three pages of guest-physical space that KVM needs on Intel hosts. */
  setTssAddress(address: number): void {
    ioctlValue('KVM_SET_TSS_ADDR', this.fd, k.KVM_SET_TSS_ADDR, address)
  }

  /** One page of guest-physical space for KVM's identity page table on Intel hosts. */
  setIdentityMapAddress(address: number): void {
    const argument = new CBuffer(8)
    setU64(argument.view, 0, address)
    ioctl('KVM_SET_IDENTITY_MAP_ADDR', this.fd, k.KVM_SET_IDENTITY_MAP_ADDR, argument)
  }

  createIrqchip(): void {
    ioctlValue('KVM_CREATE_IRQCHIP', this.fd, k.KVM_CREATE_IRQCHIP)
  }

  /** The PIT; the speaker port 0x61 is answered by KVM as well. */
  createPit(): void {
    const argument = new CBuffer(s.kvm_pit_config.size)
    argument.view.setUint32(s.kvm_pit_config.offset.flags, k.KVM_PIT_SPEAKER_DUMMY, true)
    ioctl('KVM_CREATE_PIT2', this.fd, k.KVM_CREATE_PIT2, argument)
  }

  /** Creates an in-kernel device (KVM_DEV_TYPE_*). */
  createDevice(type: number): DeviceFd {
    const argument = new CBuffer(s.kvm_create_device.size)
    argument.view.setUint32(s.kvm_create_device.offset.type, type, true)
    ioctl('KVM_CREATE_DEVICE', this.fd, k.KVM_CREATE_DEVICE, argument)
    return new DeviceFd(argument.view.getUint32(s.kvm_create_device.offset.fd, true))
  }

  /** Sets the level of a GSI. */
  setIrqLine(gsi: number, level: boolean): void {
    this.irqLevel.view.setUint32(s.kvm_irq_level.offset.irq, gsi, true)
    this.irqLevel.view.setUint32(s.kvm_irq_level.offset.level, level ? 1 : 0, true)
    ioctl('KVM_IRQ_LINE', this.fd, k.KVM_IRQ_LINE, this.irqLevel)
  }

  /** Delivers a message-signalled interrupt; returns how many vCPUs took it (0: the guest blocked it). */
  signalMsi(address: number, data: number): number {
    setU64(this.msi.view, s.kvm_msi.offset.addressLo, address)
    this.msi.view.setUint32(s.kvm_msi.offset.data, data, true)
    return ioctl('KVM_SIGNAL_MSI', this.fd, k.KVM_SIGNAL_MSI, this.msi)
  }

  /** Makes each signal of `eventFd` raise `gsi`; with `resampleFd` the line is level-triggered. */
  addIrqfd(eventFd: number, gsi: number, resampleFd?: number): void {
    this.irqfd(eventFd, gsi, resampleFd === undefined ? 0 : k.KVM_IRQFD_FLAG_RESAMPLE, resampleFd ?? 0)
  }

  removeIrqfd(eventFd: number, gsi: number): void {
    this.irqfd(eventFd, gsi, k.KVM_IRQFD_FLAG_DEASSIGN, 0)
  }

  addIoEvent(event: IoEvent): void {
    this.ioEvent(event, 0)
  }

  removeIoEvent(event: IoEvent): void {
    this.ioEvent(event, k.KVM_IOEVENTFD_FLAG_DEASSIGN)
  }

  /** Replaces the whole routing table. */
  setGsiRouting(routes: readonly GsiRoute[]): void {
    const { size, offset } = s.kvm_irq_routing_entry
    const argument = new CBuffer(s.kvm_irq_routing.size + routes.length * size)
    argument.view.setUint32(s.kvm_irq_routing.offset.nr, routes.length, true)
    for (const [index, route] of routes.entries()) {
      const at = s.kvm_irq_routing.size + index * size
      const isMsi = 'address' in route
      argument.view.setUint32(at + offset.gsi, route.gsi, true)
      argument.view.setUint32(at + offset.type, isMsi ? k.KVM_IRQ_ROUTING_MSI : k.KVM_IRQ_ROUTING_IRQCHIP, true)
      if (isMsi) {
        setU64(argument.view, at + offset.u, route.address)
        argument.view.setUint32(at + offset.u + 8, route.data, true)
      } else {
        argument.view.setUint32(at + offset.u, route.irqchip, true)
        argument.view.setUint32(at + offset.u + 4, route.pin, true)
      }
    }
    ioctl('KVM_SET_GSI_ROUTING', this.fd, k.KVM_SET_GSI_ROUTING, argument)
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
  }

  private irqfd(eventFd: number, gsi: number, flags: number, resampleFd: number): void {
    const { size, offset } = s.kvm_irqfd
    const argument = new CBuffer(size)
    argument.view.setUint32(offset.fd, eventFd, true)
    argument.view.setUint32(offset.gsi, gsi, true)
    argument.view.setUint32(offset.flags, flags, true)
    argument.view.setUint32(offset.resamplefd, resampleFd, true)
    ioctl('KVM_IRQFD', this.fd, k.KVM_IRQFD, argument)
  }

  private ioEvent(event: IoEvent, flags: number): void {
    const { size, offset } = s.kvm_ioeventfd
    const argument = new CBuffer(size)
    const kind = event.port === true ? k.KVM_IOEVENTFD_FLAG_PIO : 0
    const match = event.match === undefined ? 0 : k.KVM_IOEVENTFD_FLAG_DATAMATCH
    setU64(argument.view, offset.datamatch, event.match ?? 0)
    setU64(argument.view, offset.addr, event.address)
    argument.view.setUint32(offset.len, event.size, true)
    argument.view.setUint32(offset.fd, event.fd, true)
    argument.view.setUint32(offset.flags, flags | kind | match, true)
    ioctl('KVM_IOEVENTFD', this.fd, k.KVM_IOEVENTFD, argument)
  }
}

/** An in-kernel device made by KVM_CREATE_DEVICE (interrupt controllers, VFIO), set up through attributes. */
import { setU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { closeFd } from '../host/fd.ts'
import { ioctl } from '../host/ioctl.ts'
import { libc } from '../host/libc.ts'
import { kvm_device_attr } from './structs.ts'
import { KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_SET_DEVICE_ATTR } from './uapi.ts'

/** The device's descriptor. An attribute's value has the size that its group defines. */
export class DeviceFd {
  constructor(readonly fd: number) {}

  /** Whether the device knows the attribute. */
  has(group: number, attr: number): boolean {
    return libc.ioctl(this.fd, KVM_HAS_DEVICE_ATTR, attribute(group, attr, 0).pointer) === 0
  }

  set(group: number, attr: number, value: CBuffer): void {
    ioctl('KVM_SET_DEVICE_ATTR', this.fd, KVM_SET_DEVICE_ATTR, attribute(group, attr, value.pointer))
  }

  /** Fills `value`. */
  get(group: number, attr: number, value: CBuffer): void {
    ioctl('KVM_GET_DEVICE_ATTR', this.fd, KVM_GET_DEVICE_ATTR, attribute(group, attr, value.pointer))
  }

  [Symbol.dispose](): void {
    closeFd(this.fd)
  }
}

function attribute(group: number, attr: number, address: number): CBuffer {
  const argument = new CBuffer(kvm_device_attr.size)
  argument.view.setUint32(kvm_device_attr.offset.group, group, true)
  setU64(argument.view, kvm_device_attr.offset.attr, attr)
  setU64(argument.view, kvm_device_attr.offset.addr, address)
  return argument
}

/**
 * Tells KVM which groups of the host the guest has devices of: only then it lets the guest decide how memory is cached
 * where the devices' accesses do not snoop, and delivers their interrupts without an exit where the host can.
 * Documentation/virt/kvm/devices/vfio.rst.
 */
import { SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import type { DeviceFd } from '../kvm/device-fd.ts'
import { KVM_DEV_TYPE_VFIO, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD } from '../kvm/uapi.ts'
import type { Vm } from '../kvm/vm.ts'

/**
 * Lasts until the result is disposed, which comes before the groups are closed: KVM holds them. A KVM without VFIO is
 * told to `debug`, and gone on without.
 */
export function assignGroups(
  vm: Pick<Vm, 'createDevice'>,
  groupFds: readonly number[],
  debug: (message: string) => void,
): Disposable {
  using opened = new DisposableStack()
  try {
    const device: DeviceFd = opened.use(vm.createDevice(KVM_DEV_TYPE_VFIO))
    const group = new CBuffer(4)
    for (const fd of groupFds) {
      group.view.setInt32(0, fd, true)
      device.set(KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, group)
    }
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    debug(`KVM does not know of the host's devices that the guest has: ${error.message}`)
  }
  return opened.move()
}

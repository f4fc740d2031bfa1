/** A VFIO group: the devices that the host's IOMMU cannot tell apart (linux/vfio.h). It belongs to one process at a time. */
import { constants } from 'node:fs'
import { join } from 'node:path'
import { BadInput, HostError, SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EACCES, EBUSY, EINVAL, ENOENT, EPERM } from '../host/errno.ts'
import { closeFd, openFd } from '../host/fd.ts'
import { ioctl } from '../host/ioctl.ts'
import { cString } from '../host/libc.ts'
import { openContainer, setIommu } from './container.ts'
import type { ContainerInfo } from './plan.ts'
import { vfio_group_status } from './structs.ts'
import * as v from './uapi.ts'

/** An open group in a container of its own. */
export class VfioGroup {
  private readonly devices = new Map<string, number>()

  private constructor(
    readonly number: number,
    readonly fd: number,
    readonly containerFd: number,
    readonly info: ContainerInfo,
  ) {}

  /** Opens group `number`, of which `address` is a device, in the folder of VFIO's nodes. */
  static open(number: number, address: string, folder: string): VfioGroup {
    using opened = new DisposableStack()
    const close = (fd: number) => opened.adopt(fd, closeFd)
    // The kernel lets the container go with the last of its groups, so it is closed after the group.
    const containerFd = close(openContainer(join(folder, 'vfio')))
    const fd = close(openGroup(number, address, folder))
    checkStatus(fd, number)
    const container = new CBuffer(4)
    container.view.setInt32(0, containerFd, true)
    ioctl('VFIO_GROUP_SET_CONTAINER', fd, v.VFIO_GROUP_SET_CONTAINER, container)
    const info = setIommu(containerFd, number)
    opened.move()
    return new VfioGroup(number, fd, containerFd, info)
  }

  /** The descriptor of one of its devices, which this object closes; one device is opened once. */
  device(address: string): number {
    const name = cString(address)
    const fd = deviceFd(this.fd, name, address)
    this.devices.set(address, fd)
    return fd
  }

  /** Closes a device's descriptor, if it is open. */
  release(address: string): void {
    const fd = this.devices.get(address)
    if (fd === undefined) return
    this.devices.delete(address)
    closeFd(fd)
  }

  has(address: string): boolean {
    return this.devices.has(address)
  }

  [Symbol.dispose](): void {
    for (const address of [...this.devices.keys()]) this.release(address)
    closeFd(this.fd)
    closeFd(this.containerFd)
  }
}

function openGroup(number: number, address: string, folder: string): number {
  const path = join(folder, String(number))
  try {
    return openFd(path, constants.O_RDWR)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    const cause = { cause: error }
    switch (error.errno) {
      case ENOENT:
        throw new BadInput(
          `there is no ${path}: bind ${address} to vfio-pci with "bulkhead vfio bind ${address}"`,
          cause,
        )
      case EBUSY:
        throw new HostError(`group ${number} of ${address} is in use by another process`, cause)
      case EACCES:
      case EPERM:
        throw new HostError(`cannot open ${path} (${error.code}): run as a user who may, or give it to this one`, cause)
      default:
        throw error
    }
  }
}

function checkStatus(fd: number, number: number): void {
  const status = new CBuffer(vfio_group_status.size)
  status.view.setUint32(vfio_group_status.offset.argsz, status.size, true)
  ioctl('VFIO_GROUP_GET_STATUS', fd, v.VFIO_GROUP_GET_STATUS, status)
  const flags = status.view.getUint32(vfio_group_status.offset.flags, true)
  if ((flags & v.VFIO_GROUP_FLAGS_VIABLE) === 0)
    throw new BadInput(`group ${number} cannot be passed through: a driver of the host has another device of it`)
  if ((flags & v.VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0) throw new HostError(`group ${number} is in use already`)
}

function deviceFd(group: number, name: CBuffer, address: string): number {
  try {
    return ioctl('VFIO_GROUP_GET_DEVICE_FD', group, v.VFIO_GROUP_GET_DEVICE_FD, name)
  } catch (error) {
    if (error instanceof SysError && error.errno === EINVAL)
      throw new HostError(`VFIO does not give device ${address}: is it still bound to vfio-pci?`, { cause: error })
    throw error
  }
}

/**
 * A VFIO container: an address space for the DMA of the groups in it, with the type 1 v2 interface (linux/vfio.h). One
 * container has one group here, so that each group has mappings of its own.
 */
import { constants } from 'node:fs'
import { HostError, SysError } from '../base/errors.ts'
import { getU64, setU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EACCES, EPERM } from '../host/errno.ts'
import { closeFd, openFd } from '../host/fd.ts'
import { ioctlValue, tryIoctl } from '../host/ioctl.ts'
import { parseContainerInfo } from './container-info.ts'
import type { DmaPort } from './dma-port.ts'
import { readInfo } from './info.ts'
import type { ContainerInfo } from './plan.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

const MAP = s.vfio_iommu_type1_dma_map
const UNMAP = s.vfio_iommu_type1_dma_unmap

/** An open container with its IOMMU; whoever opened it closes `fd`. */
export class Container implements DmaPort {
  // The arguments of one call; kept alive by this object.
  private readonly mapping = new CBuffer(MAP.size)
  private readonly unmapping = new CBuffer(UNMAP.size)

  /** From what `openContainer` and `setIommu` made, in any thread. */
  constructor(
    readonly fd: number,
    readonly info: ContainerInfo,
  ) {}

  map(iova: number, size: number, hostAddress: number, flags: number): number {
    const { view } = this.mapping
    view.setUint32(MAP.offset.argsz, MAP.size, true)
    view.setUint32(MAP.offset.flags, flags, true)
    setU64(view, MAP.offset.vaddr, hostAddress)
    setU64(view, MAP.offset.iova, iova)
    setU64(view, MAP.offset.size, size)
    return tryIoctl(this.fd, v.VFIO_IOMMU_MAP_DMA, this.mapping)
  }

  unmap(iova: number, size: number): number {
    const { view } = this.unmapping
    view.setUint32(UNMAP.offset.argsz, UNMAP.size, true)
    view.setUint32(UNMAP.offset.flags, 0, true)
    setU64(view, UNMAP.offset.iova, iova)
    setU64(view, UNMAP.offset.size, size)
    const result = tryIoctl(this.fd, v.VFIO_IOMMU_UNMAP_DMA, this.unmapping)
    return result < 0 ? result : getU64(view, UNMAP.offset.size)
  }
}

/** Opens a container without groups and without an IOMMU; the caller closes the descriptor. */
export function openContainer(path: string): number {
  const fd = openNode(path)
  try {
    const version = ioctlValue('VFIO_GET_API_VERSION', fd, v.VFIO_GET_API_VERSION)
    if (version !== v.VFIO_API_VERSION) throw new HostError(`${path} has version ${version} of the VFIO interface`)
    if (ioctlValue('VFIO_CHECK_EXTENSION', fd, v.VFIO_CHECK_EXTENSION, v.VFIO_TYPE1v2_IOMMU) === 0)
      throw new HostError(
        'the host has no VFIO for its IOMMU: load the module vfio_iommu_type1, and see that the IOMMU is on (intel_iommu=on)',
      )
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** Gives a container that has a group its IOMMU, and tells what it can map. */
export function setIommu(fd: number, group: number): ContainerInfo {
  try {
    ioctlValue('VFIO_SET_IOMMU', fd, v.VFIO_SET_IOMMU, v.VFIO_TYPE1v2_IOMMU)
  } catch (error) {
    if (error instanceof SysError && error.errno === EPERM)
      throw new HostError(
        `the host does not confine the interrupts of group ${group} (no interrupt remapping): turn it on in the firmware, ` +
          'or trust the guest with them by "echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"',
        { cause: error },
      )
    throw error
  }
  const { size } = s.vfio_iommu_type1_info
  const view = readInfo(fd, { name: 'VFIO_IOMMU_GET_INFO', request: v.VFIO_IOMMU_GET_INFO, size })
  if (view === undefined) throw new HostError(`VFIO tells nothing of the IOMMU of group ${group}`)
  return parseContainerInfo(view)
}

function openNode(path: string): number {
  try {
    return openFd(path, constants.O_RDWR)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    const advice =
      error.errno === EACCES || error.errno === EPERM
        ? 'run as a user who may'
        : 'load the modules vfio-pci and vfio_iommu_type1'
    throw new HostError(`cannot open ${path} (${error.code}): ${advice}`, { cause: error })
  }
}

/**
 * What a machine's PCI devices are called where one of several is meant: `--iommu disk0+net0`, an endpoint of the IOMMU,
 * a fault. The kind and a number, in the order of the configuration.
 */
import type { DeviceConfig } from './device/kinds.ts'

const PREFIX: Readonly<Record<DeviceConfig['kind'], string>> = {
  balloon: 'balloon',
  console: 'console',
  disk: 'disk',
  network: 'net',
  rng: 'rng',
  share: 'share',
  vfio: 'vfio',
  vsock: 'vsock',
}

/**
 * A name for each device.
 *
 * @example deviceNames([{ kind: 'disk', path }, { kind: 'rng' }]) // ['disk0', 'rng0']
 */
export function deviceNames(devices: readonly Pick<DeviceConfig, 'kind'>[]): readonly string[] {
  return devices.map(
    ({ kind }, index) => `${PREFIX[kind]}${devices.slice(0, index).filter(device => device.kind === kind).length}`,
  )
}

/** Whether devices of that kind stay out from behind a bridge to a conventional bus (slots.ts). */
export function isExpress(kind: DeviceConfig['kind']): boolean {
  return kind === 'vfio'
}

/**
 * Why a device of that kind cannot be behind an IOMMU; undefined: it can. Linux's balloon driver takes
 * VIRTIO_F_ACCESS_PLATFORM back, and pages of a balloon are no DMA; a share's memory accesses are another process's
 * (vhost-user), which knows no I/O virtual addresses.
 */
export function outsideIommu(kind: DeviceConfig['kind']): string | undefined {
  switch (kind) {
    case 'balloon':
      return 'the pages of a balloon are physical ones'
    case 'share':
      return 'another program serves a share, with physical addresses'
    default:
      return undefined
  }
}

/** What a device's configuration space says before a guest has it: its BARs, and where its MSI-X lies. */
import { isPowerOfTwo } from '../base/bits.ts'
import { BadInput, HostError } from '../base/errors.ts'
import type { Bar } from '../pci/function.ts'
import { type MsixPlace, pbaBytes } from '../pci/msix.ts'
import {
  CONVENTIONAL_SIZE,
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_HEADER_TYPE,
  PCI_HEADER_TYPE_MFD,
  PCI_HEADER_TYPE_NORMAL,
  PCI_VENDOR_ID,
} from '../pci/registers.ts'
import type { VfioDevice, VfioRegion } from './device.ts'
import { VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX } from './uapi.ts'

const TWO_32 = 0x1_0000_0000
const MSIX_ENTRY_SIZE = 16
const PCI_MSIX_FLAGS = 2
const PCI_MSIX_FLAGS_QSIZE = 0x7ff
const PCI_MSIX_TABLE = 4
const PCI_MSIX_PBA = 8
/** The bits of table and PBA registers that say which BAR. */
const PCI_MSIX_BIR = 7

/** A memory BAR that a guest can have. */
export interface FoundBar {
  readonly index: number
  readonly kind: Bar['kind']
  readonly prefetchable: boolean
  readonly region: VfioRegion
}

/** Reads the space; throws if nobody answers, or a bridge does. */
export function takeSnapshot(device: VfioDevice): DataView {
  const size = device.regions[VFIO_PCI_CONFIG_REGION_INDEX]?.size ?? 0
  const bytes = device.readBytes(VFIO_PCI_CONFIG_REGION_INDEX, 0, Math.max(size, CONVENTIONAL_SIZE))
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint16(PCI_VENDOR_ID, true) === 0xffff)
    throw new HostError(`the device ${device.address} does not answer: it may have been lost or be powered down`)
  if ((view.getUint8(PCI_HEADER_TYPE) & ~PCI_HEADER_TYPE_MFD) !== PCI_HEADER_TYPE_NORMAL)
    throw new BadInput(`${device.address} is a bridge, which cannot be passed through`)
  return view
}

/** The memory BARs by index. What is in I/O space, or of no size that a BAR can have, is left out. */
export function findBars(config: DataView, regions: readonly VfioRegion[]): readonly FoundBar[] {
  const found: FoundBar[] = []
  for (let index = 0; index <= VFIO_PCI_BAR5_REGION_INDEX; index++) {
    const low = config.getUint32(PCI_BASE_ADDRESS_0 + 4 * index, true)
    const region = regions[index]
    const is64Bit = (low & PCI_BASE_ADDRESS_MEM_TYPE_64) !== 0 && index < VFIO_PCI_BAR5_REGION_INDEX
    if (region === undefined || region.size === 0 || !isPowerOfTwo(region.size)) continue
    if ((low & PCI_BASE_ADDRESS_SPACE_IO) !== 0 || (!is64Bit && region.size >= TWO_32)) continue
    const prefetchable = (low & PCI_BASE_ADDRESS_MEM_PREFETCH) !== 0
    found.push({ index, kind: is64Bit ? 'memory64' : 'memory32', prefetchable, region })
    if (is64Bit) index++
  }
  return found
}

/** Where the MSI-X capability at `at` says that table and pending bits are; undefined where they cannot be. */
export function findMsix(config: DataView, at: number, bars: readonly FoundBar[]): MsixPlace | undefined {
  const vectors = (config.getUint16(at + PCI_MSIX_FLAGS, true) & PCI_MSIX_FLAGS_QSIZE) + 1
  const table = config.getUint32(at + PCI_MSIX_TABLE, true)
  const pba = config.getUint32(at + PCI_MSIX_PBA, true)
  const place = {
    vectors,
    bar: table & PCI_MSIX_BIR,
    pbaBar: pba & PCI_MSIX_BIR,
    tableOffset: (table & ~PCI_MSIX_BIR) >>> 0,
    pbaOffset: (pba & ~PCI_MSIX_BIR) >>> 0,
  }
  const tableEnd = place.tableOffset + vectors * MSIX_ENTRY_SIZE
  const pbaEnd = place.pbaOffset + pbaBytes(vectors)
  const fits = (bar: number, end: number) => bars.some(({ index, region }) => index === bar && end <= region.size)
  const isApart = place.bar !== place.pbaBar || tableEnd <= place.pbaOffset || pbaEnd <= place.tableOffset
  return fits(place.bar, tableEnd) && fits(place.pbaBar, pbaEnd) && isApart ? place : undefined
}

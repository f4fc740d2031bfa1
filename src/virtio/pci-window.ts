/**
 * The PCI configuration access capability. VIRTIO 1.2 §4.1.4.9: a driver that cannot map BARs (firmware) sets bar,
 * offset and length of the capability; an access to pci_cfg_data then is an access to that place.
 */

import type { Capability } from '../pci/config-space.ts'
import type { Bar } from '../pci/function.ts'
import {
  VIRTIO_PCI_CAP_BAR,
  VIRTIO_PCI_CAP_LENGTH,
  VIRTIO_PCI_CAP_OFFSET,
  VIRTIO_PCI_CFG_DATA,
  windowCapability,
} from './pci-layout.ts'

/** The capability, to be put into configuration space. */
export class PciWindow implements Capability {
  readonly bytes = windowCapability()
  readonly writable = new Uint8Array(this.bytes.length)
  /** The capability as the driver wrote it. */
  private readonly view = new DataView(this.bytes.slice().buffer)

  /** `bars` are those with everything that the guest sees there, MSI-X included. */
  constructor(private readonly bars: () => readonly Bar[]) {
    this.writable[VIRTIO_PCI_CAP_BAR] = 0xff
    this.writable.fill(0xff, VIRTIO_PCI_CAP_OFFSET)
  }

  /** Back to pointing nowhere. */
  reset(): void {
    new Uint8Array(this.view.buffer).set(this.bytes)
  }

  /** A read of pci_cfg_data reads the BAR; undefined for the rest of the capability, which is as stored. */
  readonly onRead = (offset: number, size: number): number | undefined => {
    if (offset < VIRTIO_PCI_CFG_DATA) return undefined
    const { view } = this
    const bar = this.target()
    if (bar !== undefined) {
      const length = view.getUint32(VIRTIO_PCI_CAP_LENGTH, true)
      put(view, VIRTIO_PCI_CFG_DATA, length, bar.handler.read(view.getUint32(VIRTIO_PCI_CAP_OFFSET, true), length))
    }
    return get(view, offset, size)
  }

  /** A write of pci_cfg_data writes the BAR; other writes are remembered. */
  readonly onWrite = (offset: number, size: number, value: number): void => {
    const { view } = this
    for (let i = 0; i < size; i++)
      if (this.writable[offset + i] === 0xff) view.setUint8(offset + i, (value >>> (8 * i)) & 0xff)
    if (offset < VIRTIO_PCI_CFG_DATA) return
    const bar = this.target()
    if (bar === undefined) return
    const length = view.getUint32(VIRTIO_PCI_CAP_LENGTH, true)
    bar.handler.write(view.getUint32(VIRTIO_PCI_CAP_OFFSET, true), length, get(view, VIRTIO_PCI_CFG_DATA, length))
  }

  /** The BAR that the window points into; undefined when bar, offset and length make no sense (§4.1.4.9.2). */
  private target(): Bar | undefined {
    const { view } = this
    const index = view.getUint8(VIRTIO_PCI_CAP_BAR)
    const offset = view.getUint32(VIRTIO_PCI_CAP_OFFSET, true)
    const length = view.getUint32(VIRTIO_PCI_CAP_LENGTH, true)
    if ((length !== 1 && length !== 2 && length !== 4) || offset % length !== 0) return undefined
    const bar = this.bars().find(candidate => candidate.index === index)
    return bar !== undefined && offset + length <= bar.size ? bar : undefined
  }
}

function get(view: DataView, at: number, size: number): number {
  let value = 0
  for (let i = size - 1; i >= 0; i--) value = value * 256 + view.getUint8(at + i)
  return value
}

function put(view: DataView, at: number, size: number, value: number): void {
  for (let i = 0; i < size; i++) view.setUint8(at + i, (value >>> (8 * i)) & 0xff)
}

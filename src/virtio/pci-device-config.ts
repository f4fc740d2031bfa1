/** The device configuration structure: VIRTIO 1.2 §4.1.4.6, §2.5. Any width at any offset; what is not there reads 0. */
import type { BusHandler } from '../bus/bus.ts'
import type { VirtioDevice } from './device.ts'
import type { Transport } from './pci-transport.ts'

/** The registers in front of a device's `config`. */
export class DeviceConfig implements BusHandler {
  constructor(
    private readonly device: VirtioDevice,
    private readonly transport: Transport,
  ) {}

  read(offset: number, size: number): number {
    const { config } = this.device
    let value = 0
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (config[offset + i] ?? 0)
    return value
  }

  write(offset: number, size: number, value: number): void {
    if (this.transport.isResetting || offset + size > this.device.config.length) return
    this.device.writeConfig?.(offset, size, value)
  }
}

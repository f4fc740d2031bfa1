/**
 * Which interrupts a passed-through device sends: MSI-X or MSI when the guest enabled them, else its pin. VFIO has one
 * kind on at a time.
 */
import { SysError } from '../base/errors.ts'
import type { LevelInterrupt, PciHost } from '../pci/host.ts'
import type { VfioDevice } from './device.ts'
import { HostVectors } from './host-vectors.ts'
import { VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX } from './uapi.ts'

export type InterruptKind = 'none' | 'intx' | 'msi' | 'msix'

/** What the guest programmed. */
export interface WantedInterrupts {
  readonly msix: boolean
  /** How many messages, 0 while off. */
  readonly msi: number
}

/** See above. */
export class PassedInterrupts {
  /** For the `Msi` and `Msix` in front. */
  readonly msi: HostVectors
  readonly msix: HostVectors
  kind: InterruptKind = 'none'
  private level: LevelInterrupt | undefined
  /** Whether the host took the pin on. */
  private isPinOn = false

  constructor(
    private readonly device: VfioDevice,
    host: Pick<PciHost, 'createVector'>,
    private readonly warn: (message: string) => void,
  ) {
    const vectors = (index: number) =>
      new HostVectors(device, device.irqs[index] ?? { index, count: 0, flags: 0 }, host, warn)
    this.msi = vectors(VFIO_PCI_MSI_IRQ_INDEX)
    this.msix = vectors(VFIO_PCI_MSIX_IRQ_INDEX)
  }

  /** Vectors of the host in use. */
  get vectors(): number {
    return this.msi.armedCount + this.msix.armedCount
  }

  /** The pin comes out there. */
  connectPin(level: LevelInterrupt): void {
    this.level = level
  }

  /** Turns on what the guest wants, after turning off what it had. */
  apply({ msix, msi }: WantedInterrupts): void {
    const kind = msix ? 'msix' : msi > 0 ? 'msi' : this.level === undefined ? 'none' : 'intx'
    if (kind === this.kind) return
    this.stop()
    this.kind = kind
    if (kind === 'msix') this.msix.start(1)
    else if (kind === 'msi') this.msi.start(msi)
    else if (this.level !== undefined) this.startPin(this.level)
  }

  /** No interrupts at all. */
  stop(): void {
    const { kind } = this
    this.kind = 'none'
    if (kind === 'msix') this.msix.stop()
    else if (kind === 'msi') this.msi.stop()
    else if (this.isPinOn) this.attempt(() => this.device.disable(VFIO_PCI_INTX_IRQ_INDEX))
    this.isPinOn = false
  }

  close(): void {
    this.stop()
    this.level?.close()
    this.level = undefined
  }

  /** VFIO masks the pin when it signals; the guest's end of interrupt unmasks it, without this process. */
  private startPin(level: LevelInterrupt): void {
    this.attempt(() => {
      this.device.setTriggers(VFIO_PCI_INTX_IRQ_INDEX, 0, [level.fd])
      this.isPinOn = true
      this.device.setUnmaskTrigger(VFIO_PCI_INTX_IRQ_INDEX, level.resampleFd)
    })
  }

  private attempt(task: () => void): void {
    try {
      task()
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      this.warn(`its interrupt pin is silent: ${error.message}`)
    }
  }
}

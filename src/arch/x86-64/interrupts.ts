/** GSIs of the x86-64 machine: what they lead to before any message is routed. */
import type { GsiRoute } from '../../kvm/vm.ts'

const PIC_PINS = 8
const KVM_IRQCHIP_PIC_MASTER = 0
const KVM_IRQCHIP_PIC_SLAVE = 1
const KVM_IRQCHIP_IOAPIC = 2
const IOAPIC_PINS = 24
const FIRST_PCI_GSI = 16
const PCI_LINES = 4

/** The first GSI that no pin of an interrupt controller has: message-signalled interrupts start here. */
export const FIRST_MSI_GSI = IOAPIC_PINS

/** The GSI of interrupt pin `pin` (1 to 4) of device `device` on the root bus, as _PRT in firmware/dsdt.asl has it. */
export function pciLineGsi(device: number, pin: number): number {
  return FIRST_PCI_GSI + ((device + pin - 1) % PCI_LINES)
}

/** The routes that KVM makes by itself; a new table has to have them too, as it replaces the whole. */
export function pinRoutes(): readonly GsiRoute[] {
  const routes: GsiRoute[] = []
  for (let gsi = 0; gsi < IOAPIC_PINS; gsi++) {
    if (gsi < 2 * PIC_PINS)
      routes.push({
        gsi,
        irqchip: gsi < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
        pin: gsi % PIC_PINS,
      })
    routes.push({ gsi, irqchip: KVM_IRQCHIP_IOAPIC, pin: gsi })
  }
  return routes
}

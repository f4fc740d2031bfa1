/** Interrupt controllers: MADT, ACPI 6.4 §5.2.12. APIC ids are vCPU indexes. */
import { newTable, SdtHeader, seal } from './acpi-table.ts'
import { SCI_IRQ } from './fadt.ts'

const MADT_REVISION = 5
const LOCAL_APIC_GPA = 0xfee0_0000
const IO_APIC_GPA = 0xfec0_0000
/** The in-kernel I/O APIC starts with this id. */
const IO_APIC_ID = 0
/** The 8259 pair is there too. */
const PCAT_COMPAT = 1

const ENABLED = 1
/** Local APIC entries have 8-bit ids, and 255 is the broadcast id. */
const FIRST_X2APIC_ID = 255
const ALL_PROCESSORS = 0xff
const ALL_X2APIC_PROCESSORS = 0xffff_ffff
const LINT1 = 1

/** MPS INTI flags: polarity and trigger mode, table 5.26. */
const CONFORMING = 0
const ACTIVE_HIGH_LEVEL = 0x000d

/** Entry kinds with their sizes, table 5.21. */
const LOCAL_APIC = { type: 0, size: 8 } as const
const IO_APIC = { type: 1, size: 12 } as const
const INTERRUPT_OVERRIDE = { type: 2, size: 10 } as const
const LOCAL_APIC_NMI = { type: 4, size: 6 } as const
const LOCAL_X2APIC = { type: 9, size: 16 } as const
const LOCAL_X2APIC_NMI = { type: 0xa, size: 12 } as const

/** The MADT of a machine with `cpus` vCPUs. */
export function buildMadt(cpus: number): Uint8Array {
  const x2apics = Math.max(0, cpus - FIRST_X2APIC_ID)
  const size =
    SdtHeader.size +
    8 +
    (cpus - x2apics) * LOCAL_APIC.size +
    x2apics * LOCAL_X2APIC.size +
    IO_APIC.size +
    2 * INTERRUPT_OVERRIDE.size +
    LOCAL_APIC_NMI.size +
    (x2apics > 0 ? LOCAL_X2APIC_NMI.size : 0)
  const view = newTable('APIC', MADT_REVISION, size)
  view.setUint32(36, LOCAL_APIC_GPA, true)
  view.setUint32(40, PCAT_COMPAT, true)

  let at = SdtHeader.size + 8
  const entry = (kind: { readonly type: number; readonly size: number }): number => {
    const start = at
    view.setUint8(start, kind.type)
    view.setUint8(start + 1, kind.size)
    at += kind.size
    return start
  }
  for (let id = 0; id < cpus; id++) {
    if (id < FIRST_X2APIC_ID) {
      const start = entry(LOCAL_APIC)
      view.setUint8(start + 2, id)
      view.setUint8(start + 3, id)
      view.setUint32(start + 4, ENABLED, true)
    } else {
      const start = entry(LOCAL_X2APIC)
      view.setUint32(start + 4, id, true)
      view.setUint32(start + 8, ENABLED, true)
      view.setUint32(start + 12, id, true)
    }
  }
  const ioApic = entry(IO_APIC)
  view.setUint8(ioApic + 2, IO_APIC_ID)
  view.setUint32(ioApic + 4, IO_APIC_GPA, true)

  const override = (irq: number, gsi: number, flags: number) => {
    const start = entry(INTERRUPT_OVERRIDE)
    view.setUint8(start + 3, irq)
    view.setUint32(start + 4, gsi, true)
    view.setUint16(start + 8, flags, true)
  }
  // The timer's line goes to I/O APIC pin 2, as on every PC.
  override(0, 2, CONFORMING)
  override(SCI_IRQ, SCI_IRQ, ACTIVE_HIGH_LEVEL)

  const nmi = entry(LOCAL_APIC_NMI)
  view.setUint8(nmi + 2, ALL_PROCESSORS)
  view.setUint8(nmi + 5, LINT1)
  if (x2apics > 0) {
    const x2apicNmi = entry(LOCAL_X2APIC_NMI)
    view.setUint32(x2apicNmi + 4, ALL_X2APIC_PROCESSORS, true)
    view.setUint8(x2apicNmi + 8, LINT1)
  }
  return seal(view)
}

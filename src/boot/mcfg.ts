/** Where PCI configuration space is in memory: MCFG, PCI Firmware 3.2 §4.1.2. */
import { setU64 } from '../base/u64.ts'
import { newTable, SdtHeader, seal } from './acpi-table.ts'

const MCFG_REVISION = 1
/** Eight reserved bytes stand before the first allocation structure. */
const ALLOCATION_AT = SdtHeader.size + 8
const ALLOCATION_SIZE = 16

/** The window for `buses` buses from 0 on, in segment 0. */
export function buildMcfg(start: number, buses: number): Uint8Array {
  const view = newTable('MCFG', MCFG_REVISION, ALLOCATION_AT + ALLOCATION_SIZE)
  setU64(view, ALLOCATION_AT, start)
  view.setUint8(ALLOCATION_AT + 11, buses - 1)
  return seal(view)
}

/**
 * The fixed hardware description: FADT and FACS, ACPI 6.4 §5.2.9 and §5.2.10. The machine is always in ACPI mode
 * (no SMI command), has a power button, a reset register and CMOS clock, and neither power management timer, general
 * purpose events, sleep button nor keyboard controller.
 */
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'
import { GAS_SIZE, newTable, SdtHeader, seal, setPortGas, setText } from './acpi-table.ts'

/** Interrupt of the fixed events: level-triggered, active high (see the MADT). */
export const SCI_IRQ = 9
/** Status word, then enable word. */
export const PM1A_EVT_PORT = 0x600
export const PM1A_CNT_PORT = 0x604
/** SLP_TYP of S5; the DSDT's _S5 says the same. */
export const S5_SLEEP_TYPE = 5
/** The keyboard controller's reset pulse. */
export const RESET_PORT = 0x64
export const RESET_VALUE = 0xfe

const PM1_EVT_LENGTH = 4
const PM1_CNT_LENGTH = 2

/** IA-PC boot architecture flags, table 5.11. */
const BootFlag = { legacyDevices: 1 << 0, vgaNotPresent: 1 << 2 } as const
/** Fixed feature flags, table 5.10. Absent PWR_BUTTON means that the button is a fixed one. */
const Feature = { wbinvd: 1 << 0, procC1: 1 << 2, slpButton: 1 << 5, fixRtc: 1 << 6, resetRegSup: 1 << 10 } as const
/** Worst-case latencies that say "there is no C2" and "no C3". */
const NO_C2 = 101
const NO_C3 = 1001

const Fadt = layout('FADT', 276, {
  header: SdtHeader.size,
  firmwareCtrl: 'u32',
  dsdt: 'u32',
  reserved: 'u8',
  preferredPmProfile: 'u8',
  sciInt: 'u16',
  smiCmd: 'u32',
  acpiEnable: 'u8',
  acpiDisable: 'u8',
  s4biosReq: 'u8',
  pstateCnt: 'u8',
  pm1aEvtBlk: 'u32',
  pm1bEvtBlk: 'u32',
  pm1aCntBlk: 'u32',
  pm1bCntBlk: 'u32',
  pm2CntBlk: 'u32',
  pmTmrBlk: 'u32',
  gpe0Blk: 'u32',
  gpe1Blk: 'u32',
  pm1EvtLen: 'u8',
  pm1CntLen: 'u8',
  pm2CntLen: 'u8',
  pmTmrLen: 'u8',
  gpe0BlkLen: 'u8',
  gpe1BlkLen: 'u8',
  gpe1Base: 'u8',
  cstCnt: 'u8',
  pLvl2Lat: 'u16',
  pLvl3Lat: 'u16',
  flushSize: 'u16',
  flushStride: 'u16',
  dutyOffset: 'u8',
  dutyWidth: 'u8',
  dayAlrm: 'u8',
  monAlrm: 'u8',
  century: 'u8',
  iapcBootArch: 'u16',
  reserved2: 'u8',
  flags: 'u32',
  resetReg: GAS_SIZE,
  resetValue: 'u8',
  armBootArch: 'u16',
  fadtMinorVersion: 'u8',
  xFirmwareCtrl: 'u64',
  xDsdt: 'u64',
  xPm1aEvtBlk: GAS_SIZE,
  xPm1bEvtBlk: GAS_SIZE,
  xPm1aCntBlk: GAS_SIZE,
  xPm1bCntBlk: GAS_SIZE,
  xPm2CntBlk: GAS_SIZE,
  xPmTmrBlk: GAS_SIZE,
  xGpe0Blk: GAS_SIZE,
  xGpe1Blk: GAS_SIZE,
  sleepControlReg: GAS_SIZE,
  sleepStatusReg: GAS_SIZE,
  hypervisorVendor: 'u64',
})

const FADT_REVISION = 6
const FADT_MINOR = 4

export const FACS_SIZE = 64
const FACS_VERSION = 2

/** The FADT; both tables that it points to lie below 4 GiB. */
export function buildFadt(facs: number, dsdt: number): Uint8Array {
  const view = newTable('FACP', FADT_REVISION, Fadt.size)
  const at = Fadt.offset
  view.setUint32(at.firmwareCtrl, facs, true)
  view.setUint32(at.dsdt, dsdt, true)
  setU64(view, at.xDsdt, dsdt)
  view.setUint16(at.sciInt, SCI_IRQ, true)
  view.setUint32(at.pm1aEvtBlk, PM1A_EVT_PORT, true)
  view.setUint32(at.pm1aCntBlk, PM1A_CNT_PORT, true)
  view.setUint8(at.pm1EvtLen, PM1_EVT_LENGTH)
  view.setUint8(at.pm1CntLen, PM1_CNT_LENGTH)
  setPortGas(view, at.xPm1aEvtBlk, PM1A_EVT_PORT, PM1_EVT_LENGTH, 2)
  setPortGas(view, at.xPm1aCntBlk, PM1A_CNT_PORT, PM1_CNT_LENGTH, 2)
  view.setUint16(at.pLvl2Lat, NO_C2, true)
  view.setUint16(at.pLvl3Lat, NO_C3, true)
  // Without the 8042 flag (and without PNP0303 in the DSDT) Linux leaves ports 0x60 and 0x64 alone when it starts.
  view.setUint16(at.iapcBootArch, BootFlag.legacyDevices | BootFlag.vgaNotPresent, true)
  view.setUint32(
    at.flags,
    Feature.wbinvd | Feature.procC1 | Feature.slpButton | Feature.fixRtc | Feature.resetRegSup,
    true,
  )
  setPortGas(view, at.resetReg, RESET_PORT, 1, 1)
  view.setUint8(at.resetValue, RESET_VALUE)
  view.setUint8(at.fadtMinorVersion, FADT_MINOR)
  return seal(view)
}

/** The FACS has neither checksum nor revision. Linux does without one, but then keeps a global lock that is nowhere. */
export function buildFacs(): Uint8Array {
  const view = new DataView(new ArrayBuffer(FACS_SIZE))
  setText(view, 0, 'FACS')
  view.setUint32(4, FACS_SIZE, true)
  view.setUint8(32, FACS_VERSION)
  return new Uint8Array(view.buffer)
}

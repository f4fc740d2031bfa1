/** The capabilities that a guest sees of a passed-through device, at the offsets where the device has them. */
import type { Msi } from '../pci/msi.ts'
import type { Msix } from '../pci/msix.ts'
import {
  CONFIG_SPACE_SIZE,
  CONVENTIONAL_SIZE,
  PCI_CAP_ID_EXP,
  PCI_EXT_CAP_ID_ERR,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
} from '../pci/registers.ts'
import { type FoundCapability, findCapabilities, findExtendedCapabilities } from './capability-list.ts'
import { CAPABILITIES, EXTENDED_CAPABILITIES, HIDDEN_CAPABILITIES, LEAST_ROOM } from './config-fields.ts'
import { passExpress, trapReset } from './express.ts'
import type { PassedConfig } from './passed-config.ts'

const PCI_PM_CTRL = 4
const PCI_PM_CTRL_STATE_MASK = 3
const PCI_AF_CAP = 3
const PCI_AF_CAP_FLR = 0x02
const PCI_AF_CTRL = 4
const PCI_AF_CTRL_FLR = 0x01
/** Uncorrectable mask and severity, correctable mask, and control of AER, which has registers of 32 bits. */
const AER_SETTINGS = [0x08, 0x0c, 0x14, 0x18]
/** Without the registers of root ports and prefix logs. */
const AER_SIZE = 0x2c

export interface CapabilityOptions {
  readonly msi: Msi | undefined
  readonly msix: Msix | undefined
  /** Whether the function is on the root bus. */
  readonly isIntegrated: boolean
  /** Whether it is on a conventional bus, where there is no PCI Express. */
  readonly isConventional: boolean
  readonly canReset: boolean
  readonly onReset: () => void
  /** The guest puts the device to sleep: before the device knows it. */
  readonly onSleep: () => void
  /** The guest wrote the power state. */
  readonly onPower: () => void
  readonly debug: (message: string) => void
}

/** What a reset has to know of them. */
export interface PassedCapabilities {
  /** Offset of the power state, if there is one. */
  readonly power: number | undefined
  /** Offsets of the device's own 16-bit registers whose values a reset must bring back. */
  readonly settings: readonly number[]
}

/** Puts both lists into `config`. */
export function passCapabilities(
  config: PassedConfig,
  snapshot: DataView,
  options: CapabilityOptions,
): PassedCapabilities {
  const { msi, msix, isConventional, canReset, onReset, onSleep, onPower, debug } = options
  let power: number | undefined
  const settings: number[] = []
  let isExpress = false
  config.claim(PCI_STATUS, 1, PCI_STATUS_CAP_LIST)
  for (const capability of findCapabilities(snapshot)) {
    const { id, at, room } = capability
    const treatment = CAPABILITIES.get(id)
    const interrupts = treatment === 'msi' ? msi : treatment === 'msix' ? msix : undefined
    const isMissing = (treatment === 'msi' || treatment === 'msix') && interrupts === undefined
    // The device has it where another one lies, or beyond the end: nothing is known of such a device.
    const isCut = room < Math.max(LEAST_ROOM.get(id) ?? 0, interrupts?.capability.bytes.length ?? 0)
    if (treatment === undefined || isMissing || isCut || (id === PCI_CAP_ID_EXP && isConventional)) {
      debug(`its capability ${hex(id)} at ${hex(at)} is hidden`)
      config.claimRange(at, room)
      continue
    }
    config.claim(at, 2)
    if (interrupts !== undefined) config.claimRange(at, interrupts.capability.bytes.length)
    config.own.addCapability(interrupts?.capability ?? { bytes: new Uint8Array([id, 0]) }, at)
    if (treatment === 'express') {
      isExpress = true
      settings.push(...passExpress(config, capability, snapshot, options))
    } else if (treatment === 'power') {
      power = at + PCI_PM_CTRL
      config.filter(power, byte => {
        if ((byte & PCI_PM_CTRL_STATE_MASK) !== 0) onSleep()
        return byte
      })
      config.own.onWrite(power, 1, onPower)
    } else if (treatment === 'advanced-features') {
      config.claim(at + PCI_AF_CAP, 1, PCI_AF_CAP_FLR)
      config.own.define(at + PCI_AF_CAP, 1, canReset ? PCI_AF_CAP_FLR : 0)
      trapReset(config, at + PCI_AF_CTRL, PCI_AF_CTRL_FLR, canReset ? onReset : undefined)
    }
  }
  // Without PCI Express there is nothing above 256 bytes (but for PCI-X 2.0, which is gone).
  if (isExpress) settings.push(...passExtended(config, findExtendedCapabilities(snapshot), debug))
  else config.claimRange(CONVENTIONAL_SIZE, CONFIG_SPACE_SIZE - CONVENTIONAL_SIZE)
  return { power, settings }
}

function passExtended(
  config: PassedConfig,
  found: readonly FoundCapability[],
  debug: (message: string) => void,
): readonly number[] {
  const header = new Uint8Array(4)
  const settings: number[] = []
  for (const { id, version, at, room } of found) {
    if (EXTENDED_CAPABILITIES.has(id)) {
      config.claim(at, 4)
      config.own.addExtendedCapability({ id, version, bytes: header }, at)
      if (id === PCI_EXT_CAP_ID_ERR && room >= AER_SIZE)
        settings.push(...AER_SETTINGS.flatMap(register => [at + register, at + register + 2]))
      continue
    }
    const [name, reason] = HIDDEN_CAPABILITIES.get(id) ?? ['of an unknown kind', 'nobody has looked at what it can do']
    debug(`its capability ${hex(id)} (${name}) at ${hex(at)} is hidden: ${reason}`)
    config.claimRange(at, room)
    // The list begins at 0x100; ID and version of zero say that there is only a link (PCI Express 5.0 §7.9.28).
    if (at === CONVENTIONAL_SIZE) config.own.addExtendedCapability({ id: 0, version: 0, bytes: header }, at)
  }
  return settings
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

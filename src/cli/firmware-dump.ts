/** `--dump-dtb` and `--dump-acpi`: what the guest finds of firmware, in files for dtc and iasl. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { type FirmwareConfig, planFirmware } from '../machine/firmware.ts'
import type { IommuConfig } from '../machine/iommu-config.ts'

/** Where to write; absent: nothing. */
export interface FirmwareDump {
  /** A file. */
  readonly deviceTree: string | undefined
  /** A directory, which is made if need be. */
  readonly acpi: string | undefined
}

/** Whether there is anything to write. */
export function isDumped({ deviceTree, acpi }: FirmwareDump): boolean {
  return deviceTree !== undefined || acpi !== undefined
}

/** What can be told before there is a guest: throws `BadInput` for a device tree that it will not get. */
export function checkDump({ deviceTree }: FirmwareDump, topology: IommuConfig['topology']): void {
  if (deviceTree !== undefined && (topology ?? 'acpi') === 'acpi') throw noDeviceTree()
}

/** Writes what a machine like `config` gets; throws `BadInput`. */
export function dumpFirmware(config: FirmwareConfig, dump: FirmwareDump): void {
  if (!isDumped(dump)) return
  const { deviceTree, acpi } = dump
  const firmware = planFirmware(config)
  if (deviceTree !== undefined) {
    if (firmware.deviceTree === undefined) throw noDeviceTree()
    write('--dump-dtb', deviceTree, firmware.deviceTree)
  }
  if (acpi === undefined) return
  attempt('--dump-acpi', acpi, () => mkdirSync(acpi, { recursive: true }))
  // The root pointer is no table.
  for (const { gpa, bytes } of firmware.segments)
    if (gpa !== firmware.rsdp) write('--dump-acpi', join(acpi, `${signature(bytes)}.dat`), bytes)
}

function noDeviceTree(): BadInput {
  return new BadInput('--dump-dtb: the guest gets no device tree: give it an --iommu with topology=dt or topology=both')
}

/** In small letters, as acpidump and iasl name files. */
function signature(table: Uint8Array): string {
  return new TextDecoder().decode(table.subarray(0, 4)).toLowerCase()
}

function write(option: string, path: string, bytes: Uint8Array): void {
  attempt(option, path, () => writeFileSync(path, bytes))
}

function attempt(option: string, path: string, act: () => void): void {
  try {
    act()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new BadInput(`${option}: cannot write ${path} (${code})`, { cause })
  }
}

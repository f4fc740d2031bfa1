/** The programs that back devices: the system's, or private copies out of Debian packages, fetched on first use. */
import type { DeviceConfig } from '../machine/device/kinds.ts'
import { systemVirtiofsd } from '../machine/device/share-config.ts'
import { isProgramPrepared, type PackagedProgram, privateProgram } from '../packages/private-program.ts'

const PASST: PackagedProgram = { package: 'passt', path: 'usr/bin/passt' }
const VIRTIOFSD: PackagedProgram = { package: 'qemu-system-common', path: 'usr/lib/qemu/virtiofsd' }

/** A private passt, whatever the system has. */
export function privatePasst(): Promise<string> {
  return privateProgram(PASST, 'install passt, or use --network mode=tap')
}

/** A private virtiofsd, whatever the system has. */
export function privateVirtiofsd(): Promise<string> {
  return privateProgram(VIRTIOFSD, 'install virtiofsd or qemu-system-common')
}

/** Whether there is a private passt already. */
export function isPasstPrepared(): boolean {
  return isProgramPrepared(PASST)
}

/** Whether there is a private virtiofsd already. */
export function isVirtiofsdPrepared(): boolean {
  return isProgramPrepared(VIRTIOFSD)
}

/** The system's virtiofsd, or a private one. */
export async function findVirtiofsd(): Promise<string> {
  return systemVirtiofsd() ?? (await privateVirtiofsd())
}

/** The devices with the programs that they need named. */
export function withPrograms(devices: readonly DeviceConfig[]): Promise<readonly DeviceConfig[]> {
  return Promise.all(devices.map(withProgram))
}

async function withProgram(device: DeviceConfig): Promise<DeviceConfig> {
  if (device.kind === 'network' && device.mode === 'user' && device.program === undefined)
    return { ...device, program: Bun.which('passt') ?? (await privatePasst()) }
  if (device.kind === 'share' && device.program === undefined) return { ...device, program: await findVirtiofsd() }
  return device
}

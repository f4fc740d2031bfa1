/**
 * A device of the emulated host that a guest can be given, as words: `edu`, `nvme=FILE[,ro|rw]` or `e1000e[=ROM]`, for
 * `rig run --device` and for `run --vfio` where the guest runs in the rig.
 */
import { BadInput } from '../base/errors.ts'
import { DEVICE_KINDS, type EmulatedDevice } from '../rig/emulated-devices.ts'
import { pathStatus } from './path-status.ts'

export const RIG_DEVICE_VALUE = 'edu|nvme=FILE|e1000e'

/** Whether `text` names an emulated device, rightly or wrongly: an address of a host's device has a colon and no such word. */
export function namesRigDevice(text: string): boolean {
  return DEVICE_KINDS.some(kind => text === kind || text.startsWith(`${kind}=`) || text.startsWith(`${kind},`))
}

/** Parses one value of `rig run --device`, which may be several devices of one IOMMU group: `edu+edu`. */
export function parseRigDevices(text: string): readonly EmulatedDevice[] {
  if (/^edu(\+edu)+$/.test(text)) return text.split('+').map((_, index) => ({ kind: 'edu', joins: index > 0 }))
  return [parseRigDevice('--device', text, { writable: false })]
}

/** Parses one value of `option`; throws `BadInput`. A disk without `ro` or `rw` is what `writable` says. */
export function parseRigDevice(
  option: string,
  text: string,
  { writable }: { readonly writable: boolean },
): EmulatedDevice {
  const [, kind, value] = /^([a-z0-9]+)(?:=(.*))?$/s.exec(text) ?? []
  if (kind === 'edu' && value === undefined) return { kind }
  if (kind === 'nvme' && value !== undefined) {
    const mode = /,(ro|rw)$/.exec(value)
    const path = mode === null ? value : value.slice(0, -mode[0].length)
    const found = pathStatus(path)
    if (!(found?.isFile() || found?.isBlockDevice()))
      throw new BadInput(`${option} ${text}: ${path} is no file: write nvme=FILE[,ro] or nvme=FILE,rw`)
    return { kind, path, writable: mode === null ? writable : mode[1] === 'rw' }
  }
  if (kind === 'e1000e') {
    if (value === undefined) return { kind }
    if (!pathStatus(value)?.isFile())
      throw new BadInput(`${option} ${text}: ${value} is no file: write e1000e, or e1000e=ROMFILE`)
    return { kind, rom: value }
  }
  throw new BadInput(`${option} must be edu, nvme=FILE[,ro|rw] or e1000e[=ROMFILE], not "${text}"`)
}

/** The `doctor` command: what this host can do, and what to do about the rest. Looks only: fetches and changes nothing. */
import { release } from 'node:os'
import { join } from 'node:path'
import { memoryLimit } from '../vfio/memory-limit.ts'
import { noPositionals, type Options, parseArguments } from './arguments.ts'
import type { Finding, HostFolders } from './doctor-finding.ts'
import { machineFindings, partFindings } from './doctor-machine.ts'
import { passthroughFindings } from './doctor-passthrough.ts'
import { table } from './output.ts'
import { type DeviceStatus, devicesOfHost, deviceTable } from './vfio-status.ts'

export const DOCTOR_OPTIONS: Options = { json: { help: 'machine-readable output' } }

const HOST: HostFolders = { sysfs: '/sys', proc: '/proc', dev: '/dev', modules: join('/lib/modules', release()) }

/** `bulkhead doctor`. */
export async function doctor(words: readonly string[]): Promise<number> {
  const { switches, positionals } = parseArguments('doctor', words, DOCTOR_OPTIONS)
  noPositionals('doctor', positionals)
  const findings = [...machineFindings(HOST), ...passthroughFindings(HOST, memoryLimit()), ...partFindings()]
  const devices = devicesOfHost()
  process.stdout.write(switches.has('json') ? `${JSON.stringify({ findings, devices })}\n` : report(findings, devices))
  return 0
}

/** For people: a line for each finding, and the devices in groups, which are those that a guest can have. */
export function report(findings: readonly Finding[], devices: readonly DeviceStatus[]): string {
  const lines = table(
    ['STATE', 'WHAT', 'FOUND'],
    findings.map(({ state, name, text }) => [state, name, text]),
  )
  const grouped = devices
    .filter(({ group }) => group !== undefined)
    .sort((a, b) => (a.group ?? 0) - (b.group ?? 0) || (a.address < b.address ? -1 : 1))
  return grouped.length === 0 ? lines : `${lines}\n${deviceTable(grouped)}`
}

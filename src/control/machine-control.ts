/** The control requests that a machine answers: state, statistics, registers, memory, NMI, SysRq. */
import { formatRegisters, registerValues } from '../arch/index.ts'
import { BadInput } from '../base/errors.ts'
import type { Machine } from '../machine/machine.ts'
import type { DeviceStatistics } from '../machine/pci-devices.ts'
import { iommuControl, isIommuRequest } from './iommu-control.ts'
import type { ControlHandler } from './server.ts'

/** Most bytes of guest memory that one request reads. */
const MAX_READ_BYTES = 1 << 20

/** What `stat` tells of an instance; counts since its start. */
export interface MachineStat {
  readonly name: string
  readonly pid: number
  readonly state: 'starting' | 'running' | 'paused'
  /** Where the machine runs: on this host's KVM, or in the rig. */
  readonly host: 'kvm' | 'rig'
  readonly kernel: string
  readonly cpus: number
  readonly memoryMiB: number
  readonly uptimeMs: number
  /** Resident memory of the process, guest memory included. */
  readonly residentKiB: number
  /** Exits by kind, one object per vCPU. */
  readonly exits: readonly Readonly<Record<string, number>>[]
  readonly devices: readonly DeviceStatistics[]
}

/** What the machine does not know about itself. */
export interface InstanceFacts {
  readonly name: string
  readonly kernel: string
  readonly startedMs: number
}

/** Answers control requests for `machine`. */
export function machineControl(machine: Machine, facts: InstanceFacts): ControlHandler {
  let userPaused = false
  return async (method, params) => {
    switch (method) {
      case 'stat':
        return stat(machine, facts)
      case 'pause':
        if (!userPaused) {
          userPaused = true
          await machine.pause()
        }
        return null
      case 'resume':
        if (userPaused) machine.resume()
        userPaused = false
        return null
      case 'stop':
        machine.stop()
        return null
      case 'break':
        machine.sendBreak()
        return null
      case 'powerButton':
        machine.pressPowerButton()
        return null
      case 'registers':
        return machine.withVcpu(vcpuIndex(machine, params), vcpu => {
          const regs = vcpu.getRegs().bytes
          const sregs = vcpu.getSregs().bytes
          const values = Object.entries(registerValues(regs, sregs)).map(([name, value]) => [name, hex(value)])
          return { text: formatRegisters(regs, sregs), values: Object.fromEntries(values) }
        })
      case 'memory':
        return readMemory(machine, params)
      case 'mmio':
        return accessMmio(machine, params)
      case 'balloon':
        return machine.deviceCommand('balloon', { targetMiB: balloonTarget(machine, params) })
      case 'resize':
        resizeTerminal(machine, params)
        return null
      case 'nmi':
        return machine.withVcpu(vcpuIndex(machine, params), vcpu => vcpu.nmi())
      case 'sysrq':
        await sysrq(machine, params)
        return null
      default:
        if (isIommuRequest(method)) return iommuControl(machine, method, params)
        throw new BadInput(`this version knows no request "${method}"`)
    }
  }
}

async function stat(machine: Machine, facts: InstanceFacts): Promise<MachineStat> {
  return {
    name: facts.name,
    pid: process.pid,
    state: machine.isPaused ? 'paused' : 'running',
    host: 'kvm',
    kernel: facts.kernel,
    cpus: machine.config.cpus,
    memoryMiB: machine.config.memoryMiB,
    uptimeMs: Math.round(performance.now() - facts.startedMs),
    residentKiB: Math.round(process.memoryUsage().rss / 1024),
    exits: machine.exits(),
    // Before the start and at the very end there is nobody to ask.
    devices: await machine.deviceStatistics().catch(() => []),
  }
}

/** How much memory the balloon is to take: all that is above what the guest may keep. */
function balloonTarget(machine: Machine, params: Readonly<Record<string, unknown>>): number | undefined {
  const keep = params['memoryMiB']
  if (keep === undefined) return undefined
  const { memoryMiB } = machine.config
  if (typeof keep !== 'number' || !Number.isInteger(keep) || keep < 1 || keep > memoryMiB)
    throw new BadInput(`the guest can keep 1 to ${memoryMiB} MiB`)
  return memoryMiB - keep
}

/** The user's terminal is the guest's hvc0, if it has one. */
function resizeTerminal(machine: Machine, params: Readonly<Record<string, unknown>>): void {
  const cols = terminalEdge(params, 'cols')
  const rows = terminalEdge(params, 'rows')
  machine.ports[0]?.resize(cols, rows)
}

/** One measure of a terminal, which the device has 16 bits for. */
function terminalEdge(params: Readonly<Record<string, unknown>>, name: 'cols' | 'rows'): number {
  const size = params[name]
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > 0xffff)
    throw new BadInput(`a terminal's ${name} are 0 to 65535`)
  return size
}

/** Reads physical memory, or virtual memory through a vCPU's page tables; the bytes as base64. */
async function readMemory(machine: Machine, params: Readonly<Record<string, unknown>>): Promise<unknown> {
  const address = addressOf(params['address'])
  const size = params['size']
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1 || size > MAX_READ_BYTES)
    throw new BadInput(`size must be 1 to ${MAX_READ_BYTES} bytes`)
  if (params['virtual'] !== true) {
    await machine.pause()
    try {
      return { base64: encode(readPhysical(machine, Number(address), size)) }
    } finally {
      machine.resume()
    }
  }
  const bytes = await machine.withVcpu(vcpuIndex(machine, params), vcpu => {
    const result = new Uint8Array(size)
    for (let at = 0; at < size; ) {
      const virtual = address + BigInt(at)
      const count = Math.min(size - at, 4096 - Number(virtual & 0xfffn))
      const physical = vcpu.translate(virtual)
      if (physical === undefined) throw new BadInput(`virtual address ${hex(virtual)} is not mapped`)
      result.set(readPhysical(machine, physical, count), at)
      at += count
    }
    return result
  })
  return { base64: encode(bytes) }
}

/** One register: its value, or null when it was written. */
async function accessMmio(
  machine: Machine,
  { address, size, value }: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  const at = Number(addressOf(address))
  // The devices check the rest.
  if (value !== undefined) return machine.deviceCommand('mmioWrite', { address: at, size, value })
  return { value: hex(await machine.readMmio(at, size as number)) }
}

function readPhysical(machine: Machine, address: number, size: number): Uint8Array {
  const bytes = machine.memory().read(address, size)
  if (bytes === undefined) throw new BadInput(`${size} bytes at ${hex(BigInt(address))} are not all guest memory`)
  return bytes
}

/** A break and the key on the serial console: Linux's SysRq (CONFIG_MAGIC_SYSRQ_SERIAL, kernel.sysrq). */
async function sysrq(machine: Machine, params: Readonly<Record<string, unknown>>): Promise<void> {
  const key = params['key']
  if (typeof key !== 'string' || !/^[0-9a-z]$/.test(key)) throw new BadInput('a SysRq key is one of 0-9 and a-z')
  machine.sendBreak()
  await machine.consoles[0]?.write(new TextEncoder().encode(key))
}

function vcpuIndex(machine: Machine, params: Readonly<Record<string, unknown>>): number {
  const index = params['vcpu'] ?? 0
  if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= machine.config.cpus)
    throw new BadInput(`the guest has vCPUs 0 to ${machine.config.cpus - 1}`)
  return index
}

function addressOf(value: unknown): bigint {
  if (typeof value !== 'string' || !/^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(value))
    throw new BadInput('an address is a number, decimal or 0x and hexadecimal digits')
  return BigInt(value)
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

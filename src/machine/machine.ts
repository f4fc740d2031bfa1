/**
 * A virtual machine: memory, vCPU threads, the device thread, consoles, life cycle. Belongs to the main thread, which
 * never blocks; the guest runs in Workers, one per vCPU and one for the devices.
 */
import { formatRegisters, prepareVm, ramRanges, SERIAL_PORTS } from '../arch/index.ts'
import { assert, BadInput, HostError } from '../base/errors.ts'
import { EventFd } from '../host/eventfd.ts'
import { installKick } from '../host/signals.ts'
import { Kvm } from '../kvm/kvm.ts'
import type { Vcpu } from '../kvm/vcpu.ts'
import type { Vm } from '../kvm/vm.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { Ram, viewRam } from '../memory/ram.ts'
import { ByteRing } from './byte-ring.ts'
import { type MachineConfig, type MachinePlan, planMachine } from './config.ts'
import { Console } from './console.ts'
import { type ConsolePlan, planConsole } from './device/console.ts'
import { type DevicePlan, openDevice } from './device/kinds.ts'
import type { VfioResources } from './device/vfio.ts'
import { COMMAND_RING_BYTES } from './device-commands.ts'
import { DEVICE_CONTROL_BYTES, DeviceRequest } from './device-control.ts'
import { DeviceHandle, type DeviceListener } from './device-handle.ts'
import type { IommuPlan } from './iommu-plan.ts'
import { IommuView } from './iommu-view.ts'
import { mailboxBytes } from './mailbox.ts'
import type { DeviceEvent, SharedState, VcpuFault } from './messages.ts'
import type { DeviceStatistics } from './pci-devices.ts'
import { MachinePort, type PortHost } from './port.ts'
import { RouteTable } from './routes.ts'
import { controlBytes, type ExitCounter } from './vcpu-control.ts'
import { VcpuHandle } from './vcpu-handle.ts'

const MIB = 2 ** 20
/** Console rings: a screenful and more; a power of two. */
const RING_BYTES = 2 ** 16
/** How long a guest that panicked may go on, to finish its message or to reset by itself. */
const PANIC_GRACE_MS = 1000

/** How long the rest of the output may take when the guest is stopped from outside. */
const HASTY_FLUSH_MS = 500

/** How the guest came to its end. */
export type Outcome =
  | DeviceEvent
  | { readonly type: 'stopped' }
  | { readonly type: 'fault'; readonly vcpu: number; readonly fault: VcpuFault; readonly registers: string }
  | { readonly type: 'failed'; readonly message: string }

/** What a machine holds of the host; `opened` gives it back in reverse order. */
interface Resources {
  readonly kvm: Kvm
  readonly vm: Vm
  readonly ram: Ram
  readonly doorbell: EventFd
  readonly devices: readonly DevicePlan[]
  readonly iommu: IommuPlan | undefined
  readonly vfio: VfioResources | undefined
  readonly opened: AsyncDisposableStack
}

/**
 * A machine, from its plan to its end. Every `Machine` that was started must be awaited by `finished` and closed.
 *
 * @example
 * await using machine = new Machine({ memoryMiB: 128, cpus: 1, kernel: { image, name: 'kernel' } })
 * machine.consoles[0].onOutput(bytes => void process.stdout.write(bytes))
 * await machine.start()
 * const outcome = await machine.finished
 */
export class Machine {
  /** Resolves once, when the guest has ended; all of its output has been handed over by then. */
  readonly finished: Promise<Outcome>
  /** The serial ports, COM1 first. */
  readonly consoles: readonly Console[]
  /** The ports of its virtio console, if it has one. */
  readonly ports: readonly MachinePort[]
  /** The view into its IOMMU, if it has one. */
  readonly iommu: IommuView | undefined
  private readonly plan: MachinePlan
  private readonly consolePlan: ConsolePlan | undefined
  private readonly shared: SharedState
  private resources: Resources | undefined
  private devices: DeviceHandle | undefined
  private vcpus: readonly VcpuHandle[] = []
  private finish: (outcome: Outcome) => void = () => {}
  private ending: Promise<void> | undefined
  private pauses = 0
  private panicTimer: ReturnType<typeof setTimeout> | undefined

  /** Plans the machine; throws `BadInput` when it cannot be made, and touches nothing of the host. */
  constructor(readonly config: MachineConfig) {
    this.plan = planMachine(config)
    this.shared = shareState(config.cpus)
    this.finished = new Promise(resolve => {
      this.finish = resolve
    })
    const bell = {
      input: () => this.request(DeviceRequest.input),
      outputRoom: () => this.request(DeviceRequest.outputRoom),
    }
    this.consoles = this.shared.output.map(
      (output, i) => new Console(new ByteRing(output), new ByteRing(this.shared.input[i] as SharedArrayBuffer), bell),
    )
    const virtioConsole = config.devices?.find(device => device.kind === 'console')
    this.consolePlan = virtioConsole && planConsole(virtioConsole)
    this.ports = (this.consolePlan?.ports ?? []).map((port, index) => new MachinePort(port, this.portHost(index)))
    this.iommu = config.iommu && new IommuView((method, params) => this.deviceCommand(method, params))
  }

  /** The port of that name. */
  port(name: string): MachinePort | undefined {
    return this.ports.find(port => port.name === name)
  }

  /** Builds the machine and starts its vCPUs; throws `HostError` and leaves nothing behind when the host cannot. */
  async start(): Promise<void> {
    assert(this.resources === undefined, 'a machine starts once')
    if (this.ending !== undefined) return
    // Threads take as long to start as all the rest, so they start first.
    const kvm = Kvm.open()
    this.devices = new DeviceHandle(this.shared, this.listener())
    const events = {
      onFault: (index: number, fault: VcpuFault) => this.onFault(index, fault),
      onFailed: (message: string) => this.end({ type: 'failed', message }),
    }
    this.vcpus = Array.from({ length: this.config.cpus }, (_, index) => new VcpuHandle(index, this.shared, events))
    try {
      const resources = await this.build(kvm)
      // Stopped meanwhile: the threads are gone, and nobody else knows of these.
      if (this.ending !== undefined) return await resources.opened.disposeAsync()
      this.resources = resources
      await this.startThreads(resources)
    } catch (error) {
      await this.close()
      throw error
    }
    if (this.ending === undefined && this.pauses === 0) for (const vcpu of this.vcpus) vcpu.resume()
  }

  /** Holds all vCPUs out of the guest; calls may nest. Before `start`, it starts held. */
  async pause(): Promise<void> {
    this.pauses++
    await Promise.all(this.vcpus.map(vcpu => vcpu.pause()))
  }

  /** Undoes one `pause`. */
  resume(): void {
    assert(this.pauses > 0, 'resume follows a pause')
    this.pauses--
    if (this.pauses === 0 && this.ending === undefined) for (const vcpu of this.vcpus) vcpu.resume()
  }

  get isPaused(): boolean {
    return this.pauses > 0
  }

  /** Ends the guest at once. */
  stop(): void {
    this.end({ type: 'stopped' })
  }

  /** Presses the power button; what follows is up to the guest. */
  pressPowerButton(): void {
    this.request(DeviceRequest.powerButton)
  }

  /** A break on COM1, which Linux takes as the SysRq prefix. */
  sendBreak(): void {
    this.request(DeviceRequest.sendBreak)
  }

  /** Calls `use` with a vCPU that is held out of the guest meanwhile. */
  async withVcpu<T>(index: number, use: (vcpu: Vcpu) => T): Promise<T> {
    const handle = this.vcpus[index]
    assert(handle !== undefined, `vCPU ${index} exists`)
    await this.pause()
    try {
      if (this.resources === undefined || this.ending !== undefined) throw new HostError('the guest does not run')
      return use(handle.held())
    } finally {
      this.resume()
    }
  }

  /** Guest memory, while the machine is open; for reading it is best paused. */
  memory(): GuestMemory {
    assert(this.resources !== undefined, 'the machine was started')
    return viewRam(this.resources.ram.blocks)
  }

  /** Exits of each vCPU by kind, since the start. */
  exits(): readonly Record<ExitCounter, number>[] {
    return this.vcpus.map(vcpu => vcpu.exits)
  }

  /** What each PCI device did so far. */
  async deviceStatistics(): Promise<readonly DeviceStatistics[]> {
    return (await this.deviceCommand('statistics', {})) as readonly DeviceStatistics[]
  }

  /**
   * Reads a register of a device by its guest-physical address, with all that the device does then; `size` is 1, 2, 4
   * or 8 bytes. Also while the guest is paused.
   *
   * @example await machine.readMmio(0xc000_0014, 1) // device_status of the first device
   */
  async readMmio(address: number, size: number): Promise<bigint> {
    return BigInt((await this.deviceCommand('mmioRead', { address, size })) as string)
  }

  /** Writes one. */
  async writeMmio(address: number, size: number, value: number | bigint): Promise<void> {
    await this.deviceCommand('mmioWrite', { address, size, value: `0x${value.toString(16)}` })
  }

  /** Asks the devices something (see pci-devices.ts); rejects with `BadInput` when they refuse. */
  deviceCommand(method: string, params: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.devices === undefined) return Promise.reject(new HostError('the guest does not run'))
    return this.devices.command(method, params)
  }

  /** Ends the guest if it still runs, and gives everything back to the host. */
  async close(): Promise<void> {
    this.stop()
    await this.ending
    // The threads that used these are gone.
    const { resources } = this
    this.resources = undefined
    await resources?.opened.disposeAsync()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private async build(kvm: Kvm): Promise<Resources> {
    const { config, plan } = this
    await using opened = new AsyncDisposableStack()
    opened.use(kvm)
    const most = kvm.maxVcpus()
    if (config.cpus > most) throw new BadInput(`this host's KVM runs at most ${most} vCPUs: lower -c`)
    const passed = (config.devices ?? []).filter(device => device.kind === 'vfio')
    const vfioModule = passed.length === 0 ? undefined : await import('./device/vfio.ts')
    if (vfioModule !== undefined) opened.use(await vfioModule.bindDevices(passed))
    const vm = opened.use(kvm.createVm())
    const ram = opened.use(Ram.create(ramRanges(config.memoryMiB * MIB)))
    for (const [slot, block] of ram.blocks.entries())
      vm.setMemory({ slot, guestAddress: block.start, sizeBytes: block.size, hostAddress: block.hostAddress })
    // After the memory slots: with an interrupt controller each slot would wait for a grace period of the kernel's.
    prepareVm(vm)
    const memory = viewRam(ram.blocks)
    for (const { gpa, bytes } of plan.segments)
      assert(memory.write(gpa, bytes), `boot segment at ${gpa.toString(16)} lies in RAM`)
    const doorbell = opened.use(EventFd.create())
    const devices: DevicePlan[] = []
    const vfio = vfioModule && opened.use(new vfioModule.VfioResources())
    for (const device of config.devices ?? []) {
      const context = { cpus: config.cpus, memoryMiB: config.memoryMiB, ram, console: this.consolePlan, vfio }
      const { plan, resources } = await openDevice(device, context)
      opened.use(resources)
      devices.push(plan)
    }
    vfio?.assign(devices, vm, message => config.debug?.(message))
    const iommu = vfio === undefined ? plan.iommu : vfio.fit(devices, config, plan.iommu)
    return { kvm, vm, ram, doorbell, devices, iommu, vfio, opened: opened.move() }
  }

  private async startThreads({ kvm, vm, ram, doorbell, devices, iommu }: Resources): Promise<void> {
    const { config, shared } = this
    assert(this.devices !== undefined, 'the device thread exists')
    installKick()
    const startedMs = performance.timeOrigin + performance.now()
    const common = { cpus: config.cpus, vmFd: vm.fd, runPageSize: vm.runPageSize, doorbellFd: doorbell.fd, shared }
    const ready = this.devices.start(doorbell, {
      ...common,
      ram: { fd: ram.fd, blocks: ram.blocks, hold: ram.hold },
      devices,
      rootPorts: config.rootPorts === true,
      pciBridge: config.pciBridge === true,
      packedRings: config.packedRings === true,
      iommu: iommu && { ...iommu, startedMs, isTraced: this.iommu?.trace.isOn === true },
      flowControl: config.flowControl ?? [],
      debug: config.debug !== undefined,
    })
    const created = this.vcpus.map(vcpu =>
      vcpu.create({
        ...common,
        kvmFd: kvm.fd,
        index: vcpu.index,
        entry: vcpu.index === 0 ? this.plan.entry : undefined,
      }),
    )
    await Promise.all([ready, ...created])
  }

  private portHost(port: number): PortHost {
    // A port of a machine that has ended cannot be told anything, and need not be.
    const tell = (method: string, params: Readonly<Record<string, unknown>>) =>
      void this.deviceCommand(method, { port, ...params }).catch(() => {})
    return {
      input: () => this.request(DeviceRequest.input),
      outputRoom: () => this.request(DeviceRequest.outputRoom),
      setOpen: isOpen => tell('portOpen', { isOpen }),
      resize: (columns, rows) => tell('portResize', { columns, rows }),
    }
  }

  private listener(): DeviceListener {
    return {
      portOutput: port => this.ports[port]?.outputAvailable(),
      portInputRoom: port => this.ports[port]?.inputRoom(),
      portOpened: (port, isOpen) => this.ports[port]?.guestOpened(isOpen),
      output: console => this.consoles[console]?.outputAvailable(),
      inputRoom: console => this.consoles[console]?.inputRoom(),
      event: event => this.onEvent(event),
      log: message => this.config.debug?.(message),
      warning: message => this.config.warn?.(message),
      iommuTrace: lines => this.iommu?.trace.push(lines),
      deviceGone: address => this.resources?.vfio?.release(address),
      iommuEnded: last => this.iommu?.end(last),
      failed: message => this.end({ type: 'failed', message }),
    }
  }

  private onEvent(event: DeviceEvent): void {
    if (this.panicTimer !== undefined) this.end({ type: 'panic' })
    else if (event.type === 'panic') this.panicTimer = setTimeout(() => this.end(event), PANIC_GRACE_MS)
    else this.end(event)
  }

  private onFault(index: number, fault: VcpuFault): void {
    this.end({ type: 'fault', vcpu: index, fault, registers: formatRegisters(fault.regs, fault.sregs) })
  }

  /** The first outcome counts: stops the threads, hands over the rest of the output, and tells. */
  private end(outcome: Outcome): void {
    this.ending ??= this.stopThreads(outcome.type === 'stopped').then(() => this.finish(outcome))
  }

  private async stopThreads(hasty: boolean): Promise<void> {
    clearTimeout(this.panicTimer)
    if (this.resources !== undefined) {
      await Promise.all(this.vcpus.map(vcpu => vcpu.stop()))
      await this.devices?.stop()
    }
    for (const vcpu of this.vcpus) await vcpu.end()
    await this.devices?.end(this.resources?.ram.isHeld === true)
    const flushed = Promise.all([...this.consoles, ...this.ports].map(console => console.flush()))
    // Who stops a guest does not want to wait for a reader that has stopped reading.
    await (hasty ? Promise.race([flushed, Bun.sleep(HASTY_FLUSH_MS)]) : flushed)
  }

  private request(flags: number): void {
    this.devices?.request(flags)
  }
}

function shareState(cpus: number): SharedState {
  const rings = () => Array.from({ length: SERIAL_PORTS }, () => ByteRing.create(RING_BYTES).shared)
  return {
    control: new SharedArrayBuffer(controlBytes(cpus)),
    mailboxes: new SharedArrayBuffer(mailboxBytes(cpus)),
    routes: RouteTable.create().shared,
    device: new SharedArrayBuffer(DEVICE_CONTROL_BYTES),
    output: rings(),
    input: rings(),
    commands: ByteRing.create(COMMAND_RING_BYTES).shared,
  }
}

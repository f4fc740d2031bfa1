/**
 * The device thread: owns every device model. Serves the vCPUs' mailboxes, the main thread's requests and the timers;
 * sleeps in epoll_wait otherwise.
 */
import { createPci, createPlatform, type Platform } from '../arch/devices.ts'
import { BadInput, firstError, HostError } from '../base/errors.ts'
import { Bus } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import { EPOLLIN, EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import { takePrecedence } from '../host/scheduling.ts'
import { Vm } from '../kvm/vm.ts'
import { viewRam } from '../memory/ram.ts'
import { ByteRing } from './byte-ring.ts'
import type { MachineEnvironment } from './device/environment.ts'
import { type DeviceCommand, takeCommands } from './device-commands.ts'
import { DeviceControl, DeviceRequest } from './device-control.ts'
import { KvmPciHost } from './interrupts.ts'
import type { IommuEnd } from './iommu-view.ts'
import { Mailbox, Op, type Request, Sleep } from './mailbox.ts'
import { MemorySlots } from './memory-slots.ts'
import type { FromDevices, StartDevices } from './messages.ts'
import { isMmioCommand, mmioCommand } from './mmio-commands.ts'
import { type DevicesMaker, loadDevices, type PciDevices } from './pci-devices.ts'
import { Poller } from './poller.ts'
import { type DeviceWork, runRounds } from './rounds.ts'
import { RouteTable } from './routes.ts'
import { Timers } from './timers.ts'

// The web's Worker, not node:worker_threads: it starts 16 ms sooner (test/bench/start.ts).
declare const self: Worker

/** How long the thread looks again for posted writes before it sleeps until woken. */
const LIGHT_SLEEP_MS = 1

/** Requests of one vCPU before the next one has its turn: what a mailbox holds. */
const REQUESTS = 64

/** A console's rings as the device thread uses them. */
interface Console {
  readonly output: ByteRing
  readonly input: ByteRing
}

/** The loop's state. */
class DeviceLoop implements DeviceWork {
  private readonly vm: Vm
  private readonly doorbell: EventFd
  private readonly control: DeviceControl
  private readonly sleepWord: Int32Array
  private readonly mailboxes: readonly Mailbox[]
  private readonly consoles: readonly Console[]
  private readonly routes: RouteTable
  private readonly commands: ByteRing
  private readonly timers = new Timers()
  private readonly loop = new EventLoop()
  private readonly ports: Bus
  private readonly mmio: Bus
  private readonly platform: Platform
  private readonly devices: PciDevices
  /** One request, reused. */
  private readonly request: Request = { op: 0, size: 0, address: 0, low: 0, high: 0 }
  private readonly value = new DataView(new ArrayBuffer(8))

  private readonly poller: Poller
  private readonly opened: DisposableStack
  /** Watchers whose descriptors are ready, without a wait. */
  private readonly check = () => this.loop.wait(0) > 0
  private readonly wake = (ready: number) => {
    Atomics.store(this.sleepWord, 0, Sleep.awake)
    if (ready > 0) this.poller.woken()
  }

  constructor(start: StartDevices, makeDevices: DevicesMaker) {
    const { shared } = start
    // Closed in reverse order, also when building the rest fails.
    using opened = new DisposableStack()
    opened.use(this.timers)
    opened.use(this.loop)
    this.vm = new Vm(start.vmFd, start.runPageSize)
    this.doorbell = new EventFd(start.doorbellFd)
    this.control = new DeviceControl(shared.device)
    this.sleepWord = Mailbox.sleepWord(shared.mailboxes)
    this.mailboxes = Array.from({ length: start.cpus }, (_, index) => new Mailbox(shared.mailboxes, index))
    this.consoles = shared.output.map((output, index) => ({
      output: new ByteRing(output),
      input: new ByteRing(shared.input[index] as SharedArrayBuffer),
    }))
    this.routes = new RouteTable(shared.routes)
    this.commands = new ByteRing(shared.commands)
    const debug = (message: string) => {
      if (start.debug) tell({ type: 'log', message })
    }
    this.ports = new Bus('port', debug)
    this.mmio = new Bus('mmio', debug, () => this.routes.setMmio(this.mmio.ranges()))
    this.platform = createPlatform({
      ports: this.ports,
      line: irq => this.line(irq),
      mirror: port => this.routes.mirrorAt(port),
      timer: () => this.timers.create(),
      consoles: this.consoles.map((console, index) => ({
        sink: byte => this.send(console, index, byte),
        onRoom: () => this.receive(index),
        flowControl: start.flowControl[index] === true,
      })),
      ram: start.ram.blocks,
      onPowerOff: () => tell({ type: 'event', event: { type: 'powerOff' } }),
      onReset: () => tell({ type: 'event', event: { type: 'reset' } }),
      onPanic: () => tell({ type: 'event', event: { type: 'panic' } }),
      onDebugExit: status => tell({ type: 'event', event: { type: 'debugExit', status } }),
      debug,
    })
    const warn = (message: string) => tell({ type: 'warning', message })
    const host = opened.use(new KvmPciHost(this.vm, this.loop, warn))
    const pci = createPci({
      ports: this.ports,
      mmio: this.mmio,
      host,
      debug,
      onReset: () => tell({ type: 'event', event: { type: 'reset' } }),
    })
    // Each vCPU has one, and one is for this thread.
    const spare = navigator.hardwareConcurrency > start.cpus
    this.poller = new Poller(spare, () => this.control.pending || this.mailboxes.some(mailbox => mailbox.pending))
    const environment: MachineEnvironment = {
      loop: this.loop,
      timers: this.timers,
      memory: viewRam(start.ram.blocks),
      ram: start.ram,
      debug,
      notices: {
        output: port => tell({ type: 'portOutput', port }),
        inputRoom: port => tell({ type: 'portInputRoom', port }),
        guestOpened: (port, isOpen) => tell({ type: 'portOpened', port, isOpen }),
      },
      vfioNotices: {
        deviceGone: address => tell({ type: 'deviceGone', address }),
        deviceFailed: message => tell({ type: 'deviceFailed', message }),
      },
      guestSpace: new MemorySlots(this.vm, start.ram.blocks.length),
      warn,
    }
    const iommuNotices = {
      trace: (lines: string) => tell({ type: 'iommuTrace', lines }),
      ended: (last: IommuEnd) => tell({ type: 'iommuEnded', last }),
    }
    // With one processor a vCPU that polls for an answer keeps this thread from giving it, up to a slice of 3 ms at a time.
    if (navigator.hardwareConcurrency === 1 && !takePrecedence()) debug('the device thread has to wait for its turns')
    this.devices = makeDevices(pci, host, this.poller, environment, iommuNotices)
    opened.use(this.devices)
    pci.start()
    this.routes.setPorts(this.ports.ranges())
    this.loop.watch(this.doorbell.fd, EPOLLIN, () => this.doorbell.take())
    this.loop.watch(this.timers.fd, EPOLLIN, () => this.timers.fire())
    this.opened = opened.move()
  }

  [Symbol.dispose](): void {
    this.opened.dispose()
  }

  /** Answers what waits in the mailboxes. */
  serve(): boolean {
    let worked = false
    for (const mailbox of this.mailboxes)
      for (let count = 0; count < REQUESTS && mailbox.peek(this.request); count++) {
        this.answer(mailbox)
        worked = true
      }
    return worked
  }

  look(): void {
    this.loop.wait(0)
  }

  get isPolling(): boolean {
    return this.poller.isWatching
  }

  poll(): boolean {
    return this.poller.poll(this.check)
  }

  doze(): void {
    this.block(Sleep.light, LIGHT_SLEEP_MS)
  }

  sleep(): void {
    this.block(Sleep.deep, -1)
  }

  /** Blocks until something happens, at most `timeoutMs`; announces it so that the vCPUs know whether to ring. */
  private block(kind: number, timeoutMs: number): void {
    Atomics.store(this.sleepWord, 0, kind)
    // After the announcement: what came before it may not have rung.
    if (this.control.pending || this.mailboxes.some(mailbox => mailbox.pending)) {
      Atomics.store(this.sleepWord, 0, Sleep.awake)
      return
    }
    this.loop.wait(timeoutMs, this.wake)
  }

  private answer(mailbox: Mailbox): void {
    const { op, address, size, low, high } = this.request
    const { value } = this
    switch (op) {
      case Op.portRead:
        mailbox.complete(this.ports.read(address, size), 0)
        break
      case Op.portWrite:
        this.ports.write(address, size, low)
        mailbox.complete(0, 0)
        break
      case Op.mmioRead:
        this.mmio.readInto(address, size, value, 0)
        mailbox.complete(value.getUint32(0, true), value.getUint32(4, true))
        break
      default:
        value.setUint32(0, low, true)
        value.setUint32(4, high, true)
        this.mmio.writeFrom(address, size, value, 0)
        mailbox.complete(0, 0)
    }
  }

  /** Does what the main thread asked for; false when the thread has to end. */
  obey(): boolean {
    if (!this.control.pending) return true
    const requests = this.control.take()
    if ((requests & DeviceRequest.outputRoom) !== 0) {
      for (const port of this.platform.serial) port.outputReady()
      this.devices.consoleOutputRoom()
    }
    if ((requests & DeviceRequest.sendBreak) !== 0) this.platform.serial[0]?.sendBreak()
    if ((requests & DeviceRequest.input) !== 0) {
      for (const index of this.consoles.keys()) this.receive(index)
      this.devices.consoleInput()
    }
    if ((requests & DeviceRequest.powerButton) !== 0) this.platform.pressPowerButton()
    if ((requests & DeviceRequest.command) !== 0)
      for (const command of takeCommands(this.commands)) this.execute(command)
    return (requests & DeviceRequest.stop) === 0
  }

  private execute({ id, method, params }: DeviceCommand): void {
    try {
      const answer = (result: unknown) => tell({ type: 'answer', id, result })
      if (isMmioCommand(method)) answer(mmioCommand(this.mmio, method, params))
      else this.devices.command(method, params, answer)
    } catch (error) {
      if (!(error instanceof BadInput)) throw error
      tell({ type: 'refusal', id, message: error.message })
    }
  }

  private line(irq: number): InterruptLine {
    return { set: level => this.vm.setIrqLine(irq, level) }
  }

  /** Console output of one byte; false when the main thread does not take it fast enough. */
  private send(console: Console, index: number, byte: number): boolean {
    if (!console.output.pushByte(byte)) {
      console.output.block()
      if (!console.output.pushByte(byte)) return false
    }
    if (console.output.mustWakeConsumer()) tell({ type: 'output', console: index })
    return true
  }

  /** Moves console input to the serial port as far as it takes it. */
  private receive(index: number): void {
    const input = this.consoles[index]?.input
    const port = this.platform.serial[index]
    if (input === undefined || port === undefined) return
    for (;;) {
      const offered = input.peek(256)
      if (offered.length === 0) break
      const taken = port.receive(offered)
      input.skip(taken)
      if (input.mustWakeProducer()) tell({ type: 'inputRoom', console: index })
      if (taken < offered.length) break
    }
  }
}

function tell(message: FromDevices): void {
  postMessage(message)
}

async function serve(start: StartDevices): Promise<void> {
  const makeDevices = await loadDevices(start.devices, start)
  using loop = new DeviceLoop(start, makeDevices)
  tell({ type: 'ready' })
  runRounds(loop)
}

/** What the host or the user is to blame for has its sentence; anything else is our own fault. */
function describe(caught: unknown): string {
  const error = firstError(caught)
  if (!(error instanceof Error)) return String(error)
  const isKnown = error instanceof BadInput || error instanceof HostError
  return isKnown ? error.message : (error.stack ?? error.message)
}

self.onmessage = async ({ data: start }: MessageEvent<StartDevices>) => {
  try {
    await serve(start)
    // The last word: the main thread ends this one when it hears it, so everything has been given back by then.
    tell({ type: 'stopped' })
  } catch (error) {
    tell({ type: 'failed', message: describe(error) })
  }
}

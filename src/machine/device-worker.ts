/**
 * The device thread: owns every device model. Serves the vCPUs' mailboxes, the main thread's requests and the timers;
 * sleeps in epoll_wait otherwise.
 */
import { createPlatform, type Platform } from '../arch/index.ts'
import { Bus } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import { Epoll } from '../host/epoll.ts'
import { EventFd } from '../host/eventfd.ts'
import { Vm } from '../kvm/vm.ts'
import { ByteRing } from './byte-ring.ts'
import { DeviceControl, DeviceRequest } from './device-control.ts'
import { Mailbox, Op, type Request, Sleep } from './mailbox.ts'
import type { FromDevices, StartDevices } from './messages.ts'
import { RouteTable } from './routes.ts'
import { Timers } from './timers.ts'

// The web's Worker, not node:worker_threads: it starts 16 ms sooner (test/bench/start.ts).
declare const self: Worker

/** How long the thread looks again for posted writes before it sleeps until woken. */
const LIGHT_SLEEP_MS = 1

/** A console's rings as the device thread uses them. */
interface Console {
  readonly output: ByteRing
  readonly input: ByteRing
}

/** The loop's state. */
class DeviceLoop {
  private readonly vm: Vm
  private readonly doorbell: EventFd
  private readonly control: DeviceControl
  private readonly sleepWord: Int32Array
  private readonly mailboxes: readonly Mailbox[]
  private readonly consoles: readonly Console[]
  private readonly routes: RouteTable
  private readonly timers = new Timers()
  private readonly epoll = new Epoll()
  private readonly ports: Bus
  private readonly mmio: Bus
  private readonly platform: Platform
  /** One request, reused. */
  private readonly request: Request = { op: 0, size: 0, address: 0, low: 0, high: 0 }
  private readonly value = new DataView(new ArrayBuffer(8))

  constructor(start: StartDevices) {
    const { shared } = start
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
    const debug = (message: string) => {
      if (start.debug) tell({ type: 'log', message })
    }
    this.ports = new Bus('port', debug)
    this.mmio = new Bus('mmio', debug)
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
      ram: start.ram,
      onPowerOff: () => tell({ type: 'event', event: { type: 'powerOff' } }),
      onReset: () => tell({ type: 'event', event: { type: 'reset' } }),
      onPanic: () => tell({ type: 'event', event: { type: 'panic' } }),
      onDebugExit: status => tell({ type: 'event', event: { type: 'debugExit', status } }),
      debug,
    })
    this.routes.setPorts(this.ports.ranges())
    this.routes.setMmio(this.mmio.ranges())
    this.epoll.add(this.doorbell.fd)
    this.epoll.add(this.timers.fd)
  }

  /** Serves until the main thread asks for a stop. */
  run(): void {
    for (;;) {
      const worked = this.serve()
      if (this.control.pending && !this.obey()) return
      if (worked) {
        this.sleep(Sleep.light, LIGHT_SLEEP_MS)
        continue
      }
      this.sleep(Sleep.deep, -1)
    }
  }

  [Symbol.dispose](): void {
    this.epoll[Symbol.dispose]()
    this.timers[Symbol.dispose]()
  }

  /** Answers what waits in the mailboxes; true if there was something. */
  private serve(): boolean {
    let worked = false
    for (const mailbox of this.mailboxes)
      while (mailbox.peek(this.request)) {
        this.answer(mailbox)
        worked = true
      }
    return worked
  }

  /** Blocks until the doorbell or a timer, at most `timeoutMs`; announces it so that the vCPUs know whether to ring. */
  private sleep(kind: number, timeoutMs: number): void {
    Atomics.store(this.sleepWord, 0, kind)
    // After the announcement: what came before it may not have rung.
    if (this.control.pending || this.mailboxes.some(mailbox => mailbox.pending)) {
      Atomics.store(this.sleepWord, 0, Sleep.awake)
      return
    }
    const ready = this.epoll.wait(timeoutMs)
    Atomics.store(this.sleepWord, 0, Sleep.awake)
    for (let i = 0; i < ready; i++)
      if (this.epoll.readyFd(i) === this.timers.fd) this.timers.fire()
      else this.doorbell.take()
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
  private obey(): boolean {
    const requests = this.control.take()
    if ((requests & DeviceRequest.outputRoom) !== 0) for (const port of this.platform.serial) port.outputReady()
    if ((requests & DeviceRequest.sendBreak) !== 0) this.platform.serial[0]?.sendBreak()
    if ((requests & DeviceRequest.input) !== 0) for (const index of this.consoles.keys()) this.receive(index)
    if ((requests & DeviceRequest.powerButton) !== 0) this.platform.pressPowerButton()
    return (requests & DeviceRequest.stop) === 0
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

function serve(start: StartDevices): void {
  using loop = new DeviceLoop(start)
  tell({ type: 'ready' })
  loop.run()
}

self.onmessage = ({ data: start }: MessageEvent<StartDevices>) => {
  try {
    serve(start)
    // The last word: the main thread ends this one when it hears it, so everything has been given back by then.
    tell({ type: 'stopped' })
  } catch (error) {
    tell({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}

/**
 * Console device. VIRTIO 1.2 §5.3: port 0 is the console (hvc0 in Linux), further ports are consoles or named streams.
 * The ports are given at construction and stay; VIRTIO_CONSOLE_PORT_REMOVE is never sent.
 *
 * A transmit chain that the host does not take whole goes back to the queue with the number of bytes taken kept aside,
 * so no translation is held across events.
 */
import { type ConsolePort, Owed, PortState } from './console-port.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_CONSOLE } from './ids.ts'
import { Chain, type VirtQueue } from './queue.ts'

const VIRTIO_CONSOLE_F_SIZE = 1n << 0n
const VIRTIO_CONSOLE_F_MULTIPORT = 1n << 1n
const VIRTIO_CONSOLE_F_EMERG_WRITE = 1n << 2n

// struct virtio_console_config, §5.3.4.
const CONFIG_SIZE = 12
const COLS = 0
const ROWS = 2
const MAX_NR_PORTS = 4
const EMERG_WR = 8

// Queues of all ports but the first follow the control queues, §5.3.2.
const CONTROL_RECEIVE = 2
const CONTROL_TRANSMIT = 3
const FIRST_PORT_QUEUES = 4

// struct virtio_console_control, §5.3.6.2: id, event, value.
const CONTROL_SIZE = 8
const EVENT = 4
const VALUE = 6
const VIRTIO_CONSOLE_DEVICE_READY = 0
const VIRTIO_CONSOLE_PORT_ADD = 1
const VIRTIO_CONSOLE_PORT_READY = 3
const VIRTIO_CONSOLE_CONSOLE_PORT = 4
const VIRTIO_CONSOLE_RESIZE = 5
const VIRTIO_CONSOLE_PORT_OPEN = 6
const VIRTIO_CONSOLE_PORT_NAME = 7

const DATA_QUEUE_SIZE = 128
const CONTROL_QUEUE_SIZE = 64
/** Chains that one event moves in one queue before other devices get their turn. */
const BATCH = 64
/** A name is at most this long in UTF-8: control buffers are small in some drivers. */
const MAX_NAME = 128

/** What a console device is made of. */
export interface ConsoleOptions {
  readonly name: string
  /** At least one. */
  readonly ports: readonly ConsolePort[]
  /** Runs a task when the present event has been served. */
  readonly defer: (task: () => void) => void
}

/** The device. The methods after `close` are for whoever owns the host's side of the ports. */
export class VirtioConsole implements VirtioDevice {
  readonly id = VIRTIO_ID_CONSOLE
  readonly name: string
  readonly classCode = 0x078000
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly config = new Uint8Array(CONFIG_SIZE)
  readonly statistics = { sentBytes: 0, receivedBytes: 0 }
  private readonly configView = new DataView(this.config.buffer)
  private readonly ports: readonly PortState[]
  private readonly defer: ConsoleOptions['defer']
  private readonly message = new Uint8Array(CONTROL_SIZE + MAX_NAME)
  private readonly messageView = new DataView(this.message.buffer)
  private readonly emergency = new Uint8Array(1)
  private host: VirtioHost | undefined
  private isMultiport = false
  private isControlDeferred = false
  private chain: Chain | undefined

  constructor({ name, ports, defer }: ConsoleOptions) {
    this.name = name
    this.defer = defer
    this.ports = ports.map(port => new PortState(port))
    // A lone console does without control messages, and then its size is in the configuration space: Linux took the
    // two numbers of VIRTIO_CONSOLE_RESIZE in the wrong order up to 6.14.
    const isLone = ports.length === 1 && ports[0]?.isConsole === true
    this.features = VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_EMERG_WRITE | (isLone ? 0n : VIRTIO_CONSOLE_F_MULTIPORT)
    this.queueSizes = isLone
      ? [DATA_QUEUE_SIZE, DATA_QUEUE_SIZE]
      : ports.flatMap((_, index) => [
          DATA_QUEUE_SIZE,
          DATA_QUEUE_SIZE,
          ...(index === 0 ? [CONTROL_QUEUE_SIZE, CONTROL_QUEUE_SIZE] : []),
        ])
    this.configView.setUint32(MAX_NR_PORTS, ports.length, true)
  }

  /** The only writable field is emerg_wr, usable before the driver has set anything up, §5.3.5. */
  writeConfig(offset: number, _size: number, value: number): void {
    if (offset !== EMERG_WR) return
    this.emergency[0] = value & 0xff
    this.ports[0]?.port.write(this.emergency)
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.isMultiport = (host.features & VIRTIO_CONSOLE_F_MULTIPORT) !== 0n
    if (!this.isMultiport) this.receive(0)
  }

  notify(index: number): void {
    if (index === CONTROL_TRANSMIT) this.takeControl()
    else if (index === CONTROL_RECEIVE) this.sendControl()
    else if ((index & 1) === 0) this.receive(portOf(index))
    else this.transmit(portOf(index))
  }

  reset(done: () => void): void {
    this.host = undefined
    for (const state of this.ports) state.reset()
    done()
  }

  resetQueue(index: number, done: () => void): void {
    const state = this.ports[portOf(index)]
    if (index !== CONTROL_TRANSMIT && (index & 1) !== 0 && state !== undefined) state.sent = 0
    done()
  }

  close(): void {}

  get portCount(): number {
    return this.ports.length
  }

  /** Port `index` has input. */
  inputAvailable(index: number): void {
    this.receive(index)
  }

  /** Port `index` has room for output, after a `write` that was short. */
  outputRoom(index: number): void {
    this.transmit(index)
  }

  /**
   * The host's side of port `index` opens or closes. A reader in the guest sees the end after the last byte; Linux also
   * holds writers back until it is open again, so a stream that ends while its answer is read needs a second port.
   */
  setOpen(index: number, isOpen: boolean): void {
    const state = this.ports[index]
    if (state === undefined) return
    state.isHostOpen = isOpen
    this.tellOpen(state)
  }

  /** The terminal at port `index` has another size. */
  resize(index: number, columns: number, rows: number): void {
    const state = this.ports[index]
    if (state === undefined) return
    state.columns = columns & 0xffff
    state.rows = rows & 0xffff
    if (index === 0) {
      this.configView.setUint16(COLS, state.columns, true)
      this.configView.setUint16(ROWS, state.rows, true)
      if (this.hasSize) this.host?.configChanged()
    }
    this.owe(state, Owed.resize)
    this.sendControl()
  }

  private get hasSize(): boolean {
    return this.host !== undefined && (this.host.features & VIRTIO_CONSOLE_F_SIZE) !== 0n
  }

  /** Input to the guest's buffers. */
  private receive(index: number): void {
    const state = this.ports[index]
    const queue = this.dataQueue(index, 0)
    if (state === undefined || queue === undefined) return
    // Linux drops what reaches a port that no program has open.
    if (this.isMultiport && !state.isGuestOpen) return
    const chain = this.chainOf(queue)
    let turns = 0
    for (; turns < BATCH && state.port.available > 0; turns++) {
      if (!queue.pop(chain)) {
        if (queue.requestNotifications()) continue
        break
      }
      const count = state.fill(chain.writable)
      if (chain.writable.size === 0) this.host?.log(`a receive buffer of port ${index} has no room`)
      this.statistics.receivedBytes += count
      queue.push(chain, count)
    }
    queue.flush()
    if (turns === BATCH && !state.isReceiveDeferred) {
      state.isReceiveDeferred = true
      this.defer(() => {
        state.isReceiveDeferred = false
        this.receive(index)
      })
    }
    this.tellOpen(state)
  }

  /** The guest's output to the host. */
  private transmit(index: number): void {
    const state = this.ports[index]
    const queue = this.dataQueue(index, 1)
    if (state === undefined || queue === undefined) return
    const chain = this.chainOf(queue)
    queue.suppressNotifications()
    let turns = 0
    for (; turns < BATCH; turns++) {
      if (!queue.pop(chain)) {
        if (queue.requestNotifications()) continue
        break
      }
      if (!state.drain(chain.readable)) {
        queue.rewind(1)
        break
      }
      this.statistics.sentBytes += chain.readable.size
      queue.push(chain, 0)
    }
    queue.flush()
    state.tellGuestSide(queue.hasAvailable)
    if (turns === BATCH && !state.isTransmitDeferred) {
      state.isTransmitDeferred = true
      this.defer(() => {
        state.isTransmitDeferred = false
        this.transmit(index)
      })
    }
  }

  /** The driver's control messages. */
  private takeControl(): void {
    const queue = this.controlQueue(CONTROL_TRANSMIT)
    if (queue === undefined) return
    const chain = this.chainOf(queue)
    let turns = 0
    for (; turns < BATCH; turns++) {
      if (!queue.pop(chain)) {
        if (queue.requestNotifications()) continue
        break
      }
      const size = chain.readable.read(0, this.message, 0, CONTROL_SIZE)
      queue.push(chain, 0)
      if (size < CONTROL_SIZE) this.host?.log(`a control message has ${size} bytes`)
      else this.obey(this.messageView.getUint32(0, true), this.messageView.getUint16(EVENT, true))
    }
    queue.flush()
    if (turns === BATCH && !this.isControlDeferred) {
      this.isControlDeferred = true
      this.defer(() => {
        this.isControlDeferred = false
        this.takeControl()
      })
    }
    this.sendControl()
  }

  private obey(id: number, event: number): void {
    const value = this.messageView.getUint16(VALUE, true)
    if (event === VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1) for (const state of this.ports) state.owed |= Owed.add
      else this.host?.log('the driver could not set the console up')
      return
    }
    const state = this.ports[id]
    if (state === undefined) {
      this.host?.log(`control message ${event} for port ${id}, which is not there`)
      return
    }
    switch (event) {
      case VIRTIO_CONSOLE_PORT_READY:
        if (value === 1) this.introduce(state)
        else this.host?.log(`the driver could not set port ${id} up`)
        break
      case VIRTIO_CONSOLE_PORT_OPEN:
        if (state.isGuestOpen === (value !== 0)) break
        state.isGuestOpen = value !== 0
        // What a program wrote comes before the end that it makes.
        if (!state.isGuestOpen) this.transmit(id)
        state.tellGuestSide(this.dataQueue(id, 1)?.hasAvailable === true)
        this.receive(id)
        break
      default:
        this.host?.log(`unknown control message ${event}`)
    }
  }

  /** What the driver has to know of a port that it has set up, §5.3.6.2. */
  private introduce(state: PortState): void {
    state.isReady = true
    state.isToldOpen = false
    if (state.port.isConsole) state.owed |= Owed.console
    if (state.port.name !== '') state.owed |= Owed.name
    this.owe(state, Owed.resize)
    this.tellOpen(state)
  }

  private owe(state: PortState, message: number): void {
    if (!state.isReady || !this.isMultiport) return
    if (message === Owed.resize && !(state.port.isConsole && this.hasSize && state.columns > 0)) return
    state.owed |= message
  }

  private tellOpen(state: PortState): void {
    if (state.isOpen === state.isToldOpen) return
    this.owe(state, Owed.open)
    this.sendControl()
  }

  /** Sends what is owed, as far as the driver has put buffers there. */
  private sendControl(): void {
    const queue = this.controlQueue(CONTROL_RECEIVE)
    if (queue === undefined) return
    const chain = this.chainOf(queue)
    for (const [id, state] of this.ports.entries())
      while (state.owed !== 0) {
        if (!queue.pop(chain) && !(queue.requestNotifications() && queue.pop(chain))) {
          queue.flush()
          return
        }
        const lowest = state.owed & -state.owed
        state.owed &= ~lowest
        queue.push(chain, chain.writable.write(0, this.message, 0, this.compose(id, state, lowest)))
      }
    queue.flush()
  }

  /** Puts a message into `this.message`; returns its size. */
  private compose(id: number, state: PortState, owed: number): number {
    const { messageView: view } = this
    view.setUint32(0, id, true)
    view.setUint16(VALUE, 1, true)
    switch (owed) {
      case Owed.add:
        view.setUint16(EVENT, VIRTIO_CONSOLE_PORT_ADD, true)
        return CONTROL_SIZE
      case Owed.console:
        view.setUint16(EVENT, VIRTIO_CONSOLE_CONSOLE_PORT, true)
        return CONTROL_SIZE
      case Owed.resize:
        view.setUint16(EVENT, VIRTIO_CONSOLE_RESIZE, true)
        // struct virtio_console_resize, §5.3.6.2: cols, rows.
        view.setUint16(CONTROL_SIZE, state.columns, true)
        view.setUint16(CONTROL_SIZE + 2, state.rows, true)
        return CONTROL_SIZE + 4
      case Owed.name:
        view.setUint16(EVENT, VIRTIO_CONSOLE_PORT_NAME, true)
        return CONTROL_SIZE + new TextEncoder().encodeInto(state.port.name, this.message.subarray(CONTROL_SIZE)).written
      default:
        view.setUint16(EVENT, VIRTIO_CONSOLE_PORT_OPEN, true)
        state.isToldOpen = state.isOpen
        view.setUint16(VALUE, state.isToldOpen ? 1 : 0, true)
        return CONTROL_SIZE
    }
  }

  private dataQueue(port: number, direction: 0 | 1): VirtQueue | undefined {
    if (port > 0 && !this.isMultiport) return undefined
    return this.host?.queue(port === 0 ? direction : FIRST_PORT_QUEUES + (port - 1) * 2 + direction)
  }

  private controlQueue(index: number): VirtQueue | undefined {
    return this.isMultiport ? this.host?.queue(index) : undefined
  }

  /** The one chain of the device: none is held from one event to the next. */
  private chainOf(queue: VirtQueue): Chain {
    this.chain ??= new Chain(queue.space)
    return this.chain
  }
}

/** The port of a data queue. */
function portOf(queue: number): number {
  return queue < CONTROL_RECEIVE ? 0 : (queue - CONTROL_RECEIVE) >> 1
}

/**
 * Keyboard controller without a keyboard or a mouse: what a PC guest needs to find it sane, give up on both ports
 * quickly, and reset the machine. Registers as in the IBM PS/2 technical reference and Intel's UPI-41/42 sheets.
 *
 * Every command that has an answer gets one at once, because Linux waits half a second for a missing answer: the aux
 * test reports a stuck clock, and bytes sent to a device come back as a time-out. Port 0x61 between the two ports is
 * the PIT's.
 */
import type { BusHandler, DebugLog } from '../bus/bus.ts'
import { type InterruptLine, NO_INTERRUPT } from '../bus/interrupt-line.ts'
import { NO_MIRROR, type RegisterMirror } from '../bus/mirror.ts'

/** Status register. The input buffer is always empty (bit 1 reads 0): a write is carried out at once. */
const Status = { outputFull: 0x01, system: 0x04, command: 0x08, unlocked: 0x10, aux: 0x20, timeout: 0x40 } as const

/** Controller command byte (Linux: CTR). */
const Ctr = { kbdInt: 0x01, auxInt: 0x02, system: 0x04, kbdDisable: 0x10, auxDisable: 0x20, translate: 0x40 } as const

/** Output port: its bit 0 low holds the processor in reset. */
const Output = { run: 0x01, a20: 0x02 } as const

const Command = {
  readCtr: 0x20,
  writeCtr: 0x60,
  auxDisable: 0xa7,
  auxEnable: 0xa8,
  auxTest: 0xa9,
  selfTest: 0xaa,
  kbdTest: 0xab,
  kbdDisable: 0xad,
  kbdEnable: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKbdOutput: 0xd2,
  auxLoop: 0xd3,
  writeAux: 0xd4,
  disableA20: 0xdd,
  enableA20: 0xdf,
  readTestPort: 0xe0,
} as const

/** First of the commands that pulse output port lines: a 0 in bit 0 pulses reset, so 0xfe is a plain reset. */
const PULSE_FIRST = 0xf0

const SELF_TEST_PASSED = 0x55
const KBD_TEST_PASSED = 0x00
/** Aux test: clock line stuck low. Linux takes 0x00, 0xfa and 0xff for a working port. */
const AUX_CLOCK_STUCK = 0x01
/** What the controller puts in the buffer with the time-out bit when a device does not answer. */
const RESEND = 0xfe
const INPUT_PORT_UNLOCKED = 0x80

const POWER_ON_CTR = Ctr.kbdInt | Ctr.system | Ctr.auxDisable | Ctr.translate

/** Where the controller's signals go. */
export interface I8042Options {
  /** The guest asks for a machine reset. */
  readonly onReset: () => void
  /** Keyboard interrupt, IRQ 1. */
  readonly keyboardInterrupt?: InterruptLine
  /** Aux interrupt, IRQ 12. */
  readonly auxInterrupt?: InterruptLine
  /** Mirror of the status register, at offset 0 of the command port's range. */
  readonly mirror?: RegisterMirror
  readonly debug?: DebugLog
}

/** The controller: `data` belongs at port 0x60, `command` at port 0x64, one port each. */
export class I8042 {
  readonly data: BusHandler
  readonly command: BusHandler
  private readonly mirror: RegisterMirror
  private readonly keyboardInterrupt: InterruptLine
  private readonly auxInterrupt: InterruptLine
  private ctr = 0
  private outputPort = 0
  /** Output buffer; its full, aux and time-out bits are in `status`. */
  private output = 0
  private status = 0
  /** The command whose data byte comes next, or 0. */
  private expecting = 0
  private keyboardLevel = false
  private auxLevel = false

  constructor(private readonly options: I8042Options) {
    this.mirror = options.mirror ?? NO_MIRROR
    this.keyboardInterrupt = options.keyboardInterrupt ?? NO_INTERRUPT
    this.auxInterrupt = options.auxInterrupt ?? NO_INTERRUPT
    this.data = {
      accessSize: 1,
      read: () => this.readData(),
      write: (_offset, _size, value) => this.writeData(value & 0xff),
    }
    this.command = {
      accessSize: 1,
      read: () => this.status,
      write: (_offset, _size, value) => this.writeCommand(value & 0xff),
    }
    this.reset()
  }

  /** Back to the state in which firmware hands the controller over. */
  reset(): void {
    this.ctr = POWER_ON_CTR
    this.outputPort = Output.run | Output.a20
    this.output = 0
    this.status = Status.unlocked | Status.system
    this.expecting = 0
    this.update()
  }

  private readData(): number {
    this.status &= ~(Status.outputFull | Status.aux | Status.timeout)
    this.update()
    return this.output
  }

  private writeData(value: number): void {
    const expecting = this.expecting
    this.expecting = 0
    this.status &= ~Status.command
    switch (expecting) {
      case Command.writeCtr:
        this.ctr = value
        break
      case Command.writeOutputPort:
        this.writeOutputPort(value)
        break
      case Command.writeKbdOutput:
        this.answer(value)
        break
      case Command.auxLoop:
        // A controller without an aux port does not loop: any answer but the byte itself says so.
        this.answer(~value & 0xff)
        break
      case Command.writeAux:
        this.answer(RESEND, Status.aux | Status.timeout)
        break
      default:
        // For the keyboard, and the controller enables the interface to send it.
        this.ctr &= ~Ctr.kbdDisable
        this.answer(RESEND, Status.timeout)
    }
    this.update()
  }

  private writeCommand(command: number): void {
    this.expecting = 0
    this.status |= Status.command
    switch (command) {
      case Command.readCtr:
        this.answer(this.ctr)
        break
      case Command.writeCtr:
      case Command.writeOutputPort:
      case Command.writeKbdOutput:
      case Command.auxLoop:
      case Command.writeAux:
        this.expecting = command
        break
      case Command.auxDisable:
        this.ctr |= Ctr.auxDisable
        break
      case Command.auxEnable:
        this.ctr &= ~Ctr.auxDisable
        break
      case Command.auxTest:
        this.answer(AUX_CLOCK_STUCK)
        break
      case Command.selfTest:
        this.status |= Status.system
        this.answer(SELF_TEST_PASSED)
        break
      case Command.kbdTest:
        this.answer(KBD_TEST_PASSED)
        break
      case Command.kbdDisable:
        this.ctr |= Ctr.kbdDisable
        break
      case Command.kbdEnable:
        this.ctr &= ~Ctr.kbdDisable
        break
      case Command.readInputPort:
        this.answer(INPUT_PORT_UNLOCKED)
        break
      case Command.readOutputPort:
        this.answer(this.outputPort)
        break
      case Command.disableA20:
        this.outputPort &= ~Output.a20
        break
      case Command.enableA20:
        this.outputPort |= Output.a20
        break
      case Command.readTestPort:
        this.answer(0)
        break
      default:
        if (command < PULSE_FIRST) this.options.debug?.(`i8042: unknown command 0x${command.toString(16)}`)
        else if ((command & Output.run) === 0) this.options.onReset()
    }
    this.update()
  }

  private writeOutputPort(value: number): void {
    // Reset is not kept: the machine that comes back out of it must not find the line still held.
    this.outputPort = (value & Output.a20) | Output.run
    if ((value & Output.run) === 0) this.options.onReset()
  }

  private answer(value: number, flags = 0): void {
    this.output = value
    this.status = (this.status & ~(Status.aux | Status.timeout)) | Status.outputFull | flags
  }

  /** Brings the interrupt lines and the mirror in step with the state. */
  private update(): void {
    const full = (this.status & Status.outputFull) !== 0
    const aux = (this.status & Status.aux) !== 0
    const keyboardLevel = full && !aux && (this.ctr & Ctr.kbdInt) !== 0
    const auxLevel = full && aux && (this.ctr & Ctr.auxInt) !== 0
    this.mirror.publish(0, this.status)
    if (keyboardLevel !== this.keyboardLevel) {
      this.keyboardLevel = keyboardLevel
      this.keyboardInterrupt.set(keyboardLevel)
    }
    if (auxLevel !== this.auxLevel) {
      this.auxLevel = auxLevel
      this.auxInterrupt.set(auxLevel)
    }
  }
}

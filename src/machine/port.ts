/** One port of the machine's virtio console, as the main thread sees it: a stream each way, and who has it open. */
import { ByteRing } from './byte-ring.ts'
import { Console, type ConsoleBell } from './console.ts'
import type { ConsolePortPlan } from './device/console.ts'

/** How a port reaches its device. */
export interface PortHost extends ConsoleBell {
  /** Our side ends, or comes back. */
  setOpen(isOpen: boolean): void
  resize(columns: number, rows: number): void
}

/** A named stream, or a terminal. */
export class MachinePort extends Console {
  readonly name: string
  private opened: (isOpen: boolean) => void = () => {}

  constructor(
    plan: ConsolePortPlan,
    private readonly host: PortHost,
  ) {
    super(new ByteRing(plan.output), new ByteRing(plan.input), host)
    this.name = plan.name
  }

  /** Calls `handler` when a program in the guest opens the port or closes it; its output so far is in the ring then. */
  onGuestOpened(handler: (isOpen: boolean) => void): void {
    this.opened = handler
  }

  /** Ends the guest's input: a reader sees the end after all that was written. */
  end(): void {
    this.host.setOpen(false)
  }

  /** The terminal at this port has another size, in characters. */
  resize(columns: number, rows: number): void {
    this.host.resize(columns, rows)
  }

  /** The device thread said so. */
  guestOpened(isOpen: boolean): void {
    this.opened(isOpen)
  }
}

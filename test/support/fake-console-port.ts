/** The host's side of a console port in tests: output with limited room, input from a list, a record of what happened. */
import type { ConsolePort } from '../../src/virtio/console-port.ts'

/** A port whose output has room for `room` bytes until `takeOutput` makes some. */
export class FakeConsolePort implements ConsolePort {
  readonly opened: boolean[] = []
  room = Number.POSITIVE_INFINITY
  private input = new Uint8Array(0)
  private output: number[] = []

  constructor(
    readonly name = '',
    readonly isConsole = false,
  ) {}

  get available(): number {
    return this.input.length
  }

  read(target: Uint8Array): number {
    const count = Math.min(target.length, this.input.length)
    target.set(this.input.subarray(0, count))
    this.input = this.input.subarray(count)
    return count
  }

  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.room)
    this.output.push(...bytes.subarray(0, count))
    this.room -= count
    return count
  }

  guestOpened(isOpen: boolean): void {
    this.opened.push(isOpen)
  }

  /** Input for the guest, behind what is there. */
  type(bytes: Uint8Array): void {
    this.input = Uint8Array.of(...this.input, ...bytes)
  }

  /** What the guest has sent since the last call. */
  takeOutput(): Uint8Array {
    return Uint8Array.from(this.output.splice(0))
  }
}

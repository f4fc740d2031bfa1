/** The main thread's end of a console: what the guest sends on a serial port, and what it is sent. */
import type { ByteRing } from './byte-ring.ts'

/** How the device thread is told that a ring changed. */
export interface ConsoleBell {
  /** There is input. */
  input(): void
  /** The output ring has room again. */
  outputRoom(): void
}

/** Takes a piece of output; the next one waits for the promise, and in the end so does the guest. */
export type OutputHandler = (bytes: Uint8Array) => void | Promise<void>

/** One serial port as the main thread sees it. Nothing is lost in either direction. */
export class Console {
  private handler: OutputHandler = () => {}
  private draining: Promise<void> | undefined
  private readonly waitingForRoom: (() => void)[] = []
  private writing: Promise<void> = Promise.resolve()

  constructor(
    private readonly output: ByteRing,
    private readonly input: ByteRing,
    private readonly bell: ConsoleBell,
  ) {}

  /** Sends output to `handler` from now on. */
  onOutput(handler: OutputHandler): void {
    this.handler = handler
    this.outputAvailable()
  }

  /** Sends `bytes` to the guest; resolves once the serial port's queue has taken them all. */
  write(bytes: Uint8Array): Promise<void> {
    this.writing = this.writing.then(() => this.writeNow(bytes))
    return this.writing
  }

  /** The device thread said that there is output. */
  outputAvailable(): void {
    this.draining ??= this.drain().finally(() => {
      this.draining = undefined
    })
  }

  /** The device thread said that the input ring has room. */
  inputRoom(): void {
    for (const resume of this.waitingForRoom.splice(0)) resume()
  }

  /** Hands over what is left after the device thread has ended. */
  async flush(): Promise<void> {
    await this.draining
    await this.drain()
  }

  private async drain(): Promise<void> {
    for (;;) {
      const bytes = this.output.take()
      if (this.output.mustWakeProducer()) this.bell.outputRoom()
      if (bytes.length > 0) {
        const taken = this.handler(bytes)
        if (taken !== undefined) await taken
        continue
      }
      this.output.sleep()
      // After the announcement: what came before it did not wake us.
      if (this.output.length === 0) return
    }
  }

  private async writeNow(bytes: Uint8Array): Promise<void> {
    let at = 0
    while (at < bytes.length) {
      const count = this.input.push(bytes.subarray(at))
      at += count
      if (count > 0) this.bell.input()
      if (at === bytes.length) return
      const room = new Promise<void>(resolve => this.waitingForRoom.push(resolve))
      this.input.block()
      if (this.input.push(bytes.subarray(at, at + 1)) === 1) {
        at++
        this.bell.input()
        this.inputRoom()
      }
      await room
    }
  }
}

/** What the main thread asks of the device thread: a word of flags in shared memory, with the doorbell as wake-up. */

/** Flags; the device thread takes them all at once. */
export const DeviceRequest = {
  /** A console ring has input. */
  input: 1,
  /** A full output ring has room again. */
  outputRoom: 2,
  powerButton: 4,
  /** A break on the first console: the SysRq prefix. */
  sendBreak: 8,
  stop: 16,
  /** The command ring has requests (device-commands.ts). */
  command: 32,
} as const

/** Bytes of shared memory. */
export const DEVICE_CONTROL_BYTES = 16

/** Both sides use this type. */
export class DeviceControl {
  private readonly words: Int32Array

  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared)
  }

  /** Main thread: adds requests; ring the doorbell afterwards. */
  request(flags: number): void {
    Atomics.or(this.words, 0, flags)
  }

  /** Device thread: takes what was requested. */
  take(): number {
    return Atomics.exchange(this.words, 0, 0)
  }

  /** Device thread: whether something was requested. */
  get pending(): boolean {
    return Atomics.load(this.words, 0) !== 0
  }
}

/** Level-triggered interrupt inputs, as a device sees them. */

/** One interrupt input. A device calls `set` only when its level changes; the line starts low. */
export interface InterruptLine {
  set(level: boolean): void
}

/** For a device whose interrupt goes nowhere. */
export const NO_INTERRUPT: InterruptLine = { set() {} }

/**
 * A line that several devices share: high while any of them holds it high.
 *
 * @example const sci = new SharedLine(irq9); new AcpiPm({ interrupt: sci.input(), ... })
 */
export class SharedLine {
  private high = 0

  constructor(private readonly output: InterruptLine) {}

  /** A new input, one per device. */
  input(): InterruptLine {
    let current = false
    return {
      set: level => {
        if (level === current) return
        current = level
        const before = this.high
        this.high += level ? 1 : -1
        if ((before === 0) !== (this.high === 0)) this.output.set(level)
      },
    }
  }
}

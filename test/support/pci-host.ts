/** The machine's side of PCI without KVM: vectors, lines and doorbells that remember what was done to them. */
import type { InterruptLine } from '../../src/bus/interrupt-line.ts'
import type { Doorbell, LevelInterrupt, MsiMessage, MsiVector, PciHost } from '../../src/pci/host.ts'

/** A vector that counts what it delivered. Its descriptor is no real one. */
export class FakeVector implements MsiVector {
  /** Where it leads at present. */
  message: MsiMessage | undefined
  /** Calls of `connect`, each an ioctl or two on a real host. */
  readonly connects: (MsiMessage | undefined)[] = []
  /** Messages sent, in order. */
  readonly sent: MsiMessage[] = []
  pending = false
  isClosed = false

  constructor(
    readonly requester: () => number,
    readonly fd: number,
  ) {}

  trigger(): void {
    if (this.message === undefined) this.pending = true
    else this.sent.push(this.message)
  }

  connect(message: MsiMessage | undefined): void {
    this.connects.push(message)
    this.message = message
    if (message === undefined || !this.pending) return
    this.pending = false
    this.sent.push(message)
  }

  clear(): void {
    this.pending = false
  }

  close(): void {
    this.isClosed = true
  }
}

/** A doorbell that rings by `FakePciHost.write`, or by hand. */
export class FakeDoorbell implements Doorbell {
  readonly fd = -1
  address: number | undefined
  isClosed = false

  constructor(private readonly onRing: () => void) {}

  ring(): void {
    this.onRing()
  }

  place(address: number | undefined): void {
    this.address = address
  }

  close(): void {
    this.address = undefined
    this.isClosed = true
  }
}

/** A line that remembers its levels. */
export class FakeLine implements InterruptLine {
  level = false
  readonly levels: boolean[] = []

  set(level: boolean): void {
    this.level = level
    this.levels.push(level)
  }
}

/** A line for a source outside. Its descriptors are no real ones. */
export class FakeLevelInterrupt implements LevelInterrupt {
  isClosed = false

  constructor(
    readonly fd: number,
    readonly resampleFd: number,
  ) {}

  close(): void {
    this.isClosed = true
  }
}

/**
 * Gives out fakes and keeps them.
 *
 * @example
 *   const host = new FakePciHost()
 *   host.write(0xc000_3000) // as KVM does for an ioeventfd: true when a doorbell is there, and it rang
 *   host.vectors[1]?.sent.length
 */
export class FakePciHost implements PciHost {
  readonly vectors: FakeVector[] = []
  readonly doorbells: FakeDoorbell[] = []
  /** By "device.pin" of the root bus; every function that asks has the same one. */
  readonly lines = new Map<string, FakeLine>()
  /** By "device.pin"; the latest one that was asked for. */
  readonly levelInterrupts = new Map<string, FakeLevelInterrupt>()

  createVector(requester: () => number): MsiVector {
    const vector = new FakeVector(requester, 500 + this.vectors.length)
    this.vectors.push(vector)
    return vector
  }

  line(device: number, pin: number): InterruptLine {
    const key = `${device}.${pin}`
    const line = this.lines.get(key) ?? new FakeLine()
    this.lines.set(key, line)
    return line
  }

  createLevelInterrupt(device: number, pin: number): LevelInterrupt {
    const level = new FakeLevelInterrupt(1000 + this.levelInterrupts.size, 2000 + this.levelInterrupts.size)
    this.levelInterrupts.set(`${device}.${pin}`, level)
    return level
  }

  createDoorbell(onRing: () => void): Doorbell {
    const doorbell = new FakeDoorbell(onRing)
    this.doorbells.push(doorbell)
    return doorbell
  }

  /** A guest's write to `address`; false when no doorbell is there, so that it is the bus's. */
  write(address: number): boolean {
    const there = this.doorbells.filter(doorbell => doorbell.address === address)
    for (const doorbell of there) doorbell.ring()
    return there.length > 0
  }
}

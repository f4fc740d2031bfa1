/** What the machine gives to PCI functions: interrupts and doorbells. KVM implements it; tests have their own. */
import type { InterruptLine } from '../bus/interrupt-line.ts'

/** A message-signalled interrupt as the function was programmed. */
export interface MsiMessage {
  readonly address: number
  readonly data: number
}

/**
 * One interrupt vector of a function: an eventfd in front of the interrupt controller. While it is not connected
 * (masked, or not programmed) a trigger is kept as pending and delivered on connection.
 */
export interface MsiVector {
  /** The eventfd, for those who signal it from outside (vhost, VFIO). */
  readonly fd: number
  trigger(): void
  /** Connects the vector to its message, or disconnects it. */
  connect(message: MsiMessage | undefined): void
  /** Whether a trigger waits for a connection (the PBA's bit). */
  readonly pending: boolean
  /** Forgets a pending trigger: the function was reset. */
  clear(): void
  close(): void
}

/** An address whose writes reach the device thread without an exit to a vCPU thread (ioeventfd). */
export interface Doorbell {
  readonly fd: number
  /** Puts the doorbell at a guest-physical address, or nowhere. Writes of any width ring it. */
  place(address: number | undefined): void
  close(): void
}

/**
 * A level-triggered interrupt whose level somebody outside drives (VFIO): each signal of `fd` raises the line, the
 * guest's end of interrupt lowers it and signals `resampleFd`, and whoever is outside raises it again if need be.
 */
export interface LevelInterrupt {
  readonly fd: number
  readonly resampleFd: number
  close(): void
}

/** The machine's side. */
export interface PciHost {
  /** A vector for `requester` (bus << 8 | device << 3 | function), which an IOMMU may want to know. */
  createVector(requester: () => number): MsiVector
  /** The level-triggered line of a function's interrupt pin (1 to 4); functions may share it. */
  line(device: number, pin: number): InterruptLine
  /** The same line for a source outside; others may share it. */
  createLevelInterrupt(device: number, pin: number): LevelInterrupt
  /** A doorbell that calls `onRing` on the device thread. */
  createDoorbell(onRing: () => void): Doorbell
}

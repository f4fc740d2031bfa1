/** The errors that bulkhead throws on purpose. Guest behaviour never becomes one (see the devices). */

/**
 * The command line, a file or an option is unusable. `message` is one clear sentence that says what to do;
 * the command line prints it and ends with status 2.
 */
export class BadInput extends Error {
  override readonly name = 'BadInput'
}

/** The host cannot do what was asked, with a sentence that says what to do about it; status 125. */
export class HostError extends Error {
  override readonly name: string = 'HostError'
}

/** This host has no KVM that could be used; the command line treats it like bad input. */
export class KvmUnusable extends HostError {
  override readonly name = 'KvmUnusable'
}

/** A system call failed: names the call and the errno. */
export class SysError extends HostError {
  override readonly name = 'SysError'

  constructor(
    readonly call: string,
    readonly errno: number,
    readonly code: string,
    options?: ErrorOptions,
  ) {
    super(`${call} failed: ${code} (errno ${errno})`, options)
  }
}

/** Stops the program when an invariant of our own does not hold. */
export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`internal error: ${invariant}`)
}

/** What went wrong first: what fails when things are given back after an error comes with that error in it. */
export function firstError(error: unknown): unknown {
  let first = error
  while (first instanceof SuppressedError) first = first.suppressed as unknown
  return first
}

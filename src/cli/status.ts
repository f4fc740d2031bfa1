/** Exit statuses, and the sentence that goes with each end of a guest. */
import type { Outcome } from '../machine/machine.ts'

/** What the process ends with when it is not the guest's own status. Shell conventions where there are any. */
export const Status = {
  ok: 0,
  /** Bad command line, file or option. */
  usage: 2,
  /** With `--iommu-check`: all went well, but the guest's driver broke rules. */
  findings: 3,
  /** The guest ended before its command did. */
  ended: 119,
  /** The guest's kernel panicked. */
  panic: 120,
  /** Triple fault. */
  crash: 121,
  /** KVM_EXIT_INTERNAL_ERROR, or an exit that nothing handles. */
  internalError: 122,
  /** KVM_EXIT_FAIL_ENTRY. */
  failedEntry: 123,
  /** `--timeout` ran out, as with timeout(1). */
  timeout: 124,
  /** The host or bulkhead itself failed. */
  failure: 125,
} as const

/** Signals that end a run in good order, with the numbers that make the status (128 + number). */
export const ENDING_SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const
/** Nobody reads our output any more. */
export const SIGPIPE = 13

/** A guest's end: the status for the process, and a sentence for standard error unless all is well. */
export interface End {
  readonly status: number
  readonly message?: string
  /** Ended from outside, by a signal or the time limit. */
  readonly interrupted?: boolean
  /** More lines: a register dump. */
  readonly details?: string
}

/** Judges an outcome; `commandStatus` is what the command reported, undefined without one or before its end. */
export function judge(outcome: Outcome, hasCommand: boolean, commandStatus: number | undefined): End {
  if (commandStatus !== undefined && outcome.type !== 'failed') return { status: commandStatus }
  switch (outcome.type) {
    case 'powerOff':
    case 'reset':
      if (!hasCommand) return { status: Status.ok }
      return { status: Status.ended, message: 'the guest ended before the command did' }
    case 'stopped':
      return { status: hasCommand ? Status.ended : Status.ok, message: 'stopped' }
    case 'debugExit':
      return { status: outcome.status }
    case 'panic':
      return { status: Status.panic, message: "the guest's kernel panicked" }
    case 'failed':
      return { status: Status.failure, message: outcome.message }
    case 'fault':
      return faultEnd(outcome)
  }
}

function faultEnd({ vcpu, fault, registers }: Extract<Outcome, { type: 'fault' }>): End {
  const { exit } = fault
  const details = registers
  switch (exit.kind) {
    case 'shutdown':
      return { status: Status.crash, message: `vCPU ${vcpu} crashed (triple fault)`, details }
    case 'failEntry': {
      const message = `vCPU ${vcpu} could not enter the guest (hardware reason 0x${exit.reason.toString(16)})`
      return { status: Status.failedEntry, message, details }
    }
    case 'internalError': {
      const data = exit.data.map(word => `0x${word.toString(16)}`).join(' ')
      const message = `KVM gave up on vCPU ${vcpu} (internal error, suberror ${exit.suberror}${data && `, data ${data}`})`
      return { status: Status.internalError, message, details }
    }
    default:
      return { status: Status.internalError, message: `vCPU ${vcpu} stopped: unhandled exit ${exit.kind}`, details }
  }
}

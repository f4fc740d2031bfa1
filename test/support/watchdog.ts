/**
 * Gets a test's thread out of KVM_RUN when a guest does not come back: nothing else could, as the thread that would
 * notice the time-out is the one that is blocked.
 */
import { Worker } from 'node:worker_threads'
import { installKick, threadId } from '../../src/host/signals.ts'

/** What the watching thread is given. Word 0 counts what is watched, 0 for nothing; word 1 is set to end it. */
export interface Watch {
  readonly shared: SharedArrayBuffer
  readonly tid: number
  readonly limitMs: number
}

/** Watches the thread that made it. */
export class Watchdog {
  private readonly words = new Int32Array(new SharedArrayBuffer(8))
  private readonly worker: Worker
  private turns = 0

  constructor(limitMs = 5000) {
    installKick()
    const workerData: Watch = { shared: this.words.buffer as SharedArrayBuffer, tid: threadId(), limitMs }
    this.worker = new Worker(new URL('./watchdog-worker.ts', import.meta.url), { workerData })
  }

  /** Calls `use`, and kicks this thread as soon as that has lasted too long. */
  during<T>(use: () => T): T {
    Atomics.store(this.words, 0, ++this.turns)
    try {
      return use()
    } finally {
      Atomics.store(this.words, 0, 0)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Atomics.store(this.words, 1, 1)
    Atomics.notify(this.words, 1)
    await this.worker.terminate()
  }
}

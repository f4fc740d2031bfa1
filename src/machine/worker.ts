/** A machine's Worker and what it says: one promise for each thing that it reports once, a callback for the rest. */
import { Worker } from 'node:worker_threads'
import { workerUrl } from '../base/project.ts'

/** A Worker that ends by itself when asked to; it is never terminated while it may be blocked in a call. */
export class MachineWorker<Start, Message extends { readonly type: string }> {
  private readonly worker: Worker
  private readonly waiting = new Map<string, (message: Message) => void>()

  /** Starts the thread; `onMessage` gets every message that nobody waits for. */
  constructor(name: string, onMessage: (message: Message) => void) {
    this.worker = new Worker(workerUrl(name))
    this.worker.on('message', (message: Message) => {
      const resolve = this.waiting.get(message.type)
      this.waiting.delete(message.type)
      if (resolve !== undefined) resolve(message)
      onMessage(message)
    })
    this.worker.on('error', error => onMessage({ type: 'failed', message: String(error) } as unknown as Message))
  }

  start(start: Start): void {
    this.worker.postMessage(start)
  }

  /** The next message of `type`. */
  next<Type extends Message['type']>(type: Type): Promise<Extract<Message, { type: Type }>> {
    return new Promise(resolve => {
      this.waiting.set(type, resolve as (message: Message) => void)
    })
  }

  /** Ends the thread, which must have left its loop. */
  async end(): Promise<void> {
    await this.worker.terminate()
  }
}

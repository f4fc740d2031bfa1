/** A machine's Worker and what it says: one promise for each thing that it reports once, a callback for the rest. */
import { workerUrl } from '../base/project.ts'

/** A Worker that ends by itself when asked to; it is never terminated while it may be blocked in a call. */
export class MachineWorker<Start, Message extends { readonly type: string }> {
  private readonly worker: Worker
  private readonly closed: Promise<unknown>
  private waiting: { readonly type: string; readonly resolve: (message: Message) => void }[] = []

  /** Starts the thread; `onMessage` gets every message that nobody waits for. */
  constructor(name: string, onMessage: (message: Message) => void) {
    this.worker = new Worker(workerUrl(name))
    // From the start: a thread that fails to load closes by itself.
    this.closed = new Promise(resolve => this.worker.addEventListener('close', resolve))
    const deliver = (message: Message) => {
      const waiting = this.waiting
      this.waiting = waiting.filter(({ type }) => type !== message.type)
      for (const { type, resolve } of waiting) if (type === message.type) resolve(message)
      onMessage(message)
    }
    this.worker.addEventListener('message', (event: MessageEvent) => deliver(event.data as Message))
    this.worker.addEventListener('error', event =>
      deliver({ type: 'failed', message: event.message } as unknown as Message),
    )
  }

  start(start: Start): void {
    this.worker.postMessage(start)
  }

  /** The next message of `type`; any number of callers may wait for it. */
  next<Type extends Message['type']>(type: Type): Promise<Extract<Message, { type: Type }>> {
    return new Promise(resolve => {
      this.waiting.push({ type, resolve: resolve as (message: Message) => void })
    })
  }

  /** Leaves a thread alone that cannot end: the process does not wait for it. */
  abandon(): void {
    this.worker.unref()
  }

  /** Ends the thread, which must have left its loop. */
  async end(): Promise<void> {
    this.worker.terminate()
    await this.closed
  }
}

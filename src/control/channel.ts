/** The control protocol over a character device: inside the rig, a virtio port that leads to the outer instance. */
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { answerLines, type ControlHandler } from './server.ts'

/**
 * Answers requests that come over the device at `path` until the result is disposed.
 *
 * One descriptor serves both directions, as a virtio port can be open only once.
 */
export function serveChannel(path: string, handler: ControlHandler): Disposable {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  const queue: Uint8Array[] = []
  const send = () => {
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const count = tryWrite(fd, next)
      if (count < next.length) {
        queue[0] = next.subarray(count)
        // The port is full: the outer side takes it soon.
        setTimeout(send, 5)
        return
      }
      queue.shift()
    }
  }
  const lines = answerLines(handler, line => {
    queue.push(new TextEncoder().encode(line))
    if (queue.length === 1) send()
  })
  void (async () => {
    for await (const chunk of Bun.file(fd).stream()) lines.push(chunk)
  })()
  return { [Symbol.dispose]: () => closeSync(fd) }
}

function tryWrite(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0
    throw error
  }
}

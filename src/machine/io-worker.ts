/** The thread of a disk without io_uring: does its system calls, and nothing else, until the disk's owner stops it. */
import { type DiskChannel, serveChannel } from '../backend/disk-thread.ts'

declare const self: Worker

/** The I/O thread to the main thread. */
export type FromIo =
  | { readonly type: 'ready' }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly message: string }

function tell(message: FromIo): void {
  postMessage(message)
}

self.onmessage = ({ data: channel }: MessageEvent<DiskChannel>) => {
  try {
    tell({ type: 'ready' })
    serveChannel(channel)
    tell({ type: 'stopped' })
  } catch (error) {
    tell({ type: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}

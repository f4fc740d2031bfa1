/** The host's side of vsock connections, as the device sees it. Nothing blocks. */
import type { Extents } from '../memory/extents.ts'

/** Bytes of one connection that the guest may have sent and the host not yet taken: what a stream has to keep. */
export const WINDOW_BYTES = 2 ** 17

/** Told by a stream, also from within `send`. */
export interface VsockStreamEvents {
  /** There may be bytes, or the end of the stream. */
  readable(): void
  /** `forwarded` has grown. */
  forwarded(): void
  /** The host takes nothing any more; what was under way is lost. */
  broken(): void
  /** The host has gone, in both directions. Bytes it sent before may still be there. */
  hungUp(): void
}

/** A stream of bytes in each direction. */
export interface VsockStream {
  /** Who is told; set once, before the stream is used. */
  events: VsockStreamEvents | undefined
  /** The guest has accepted the connection that the host asked for as `hostPort`. */
  accept(hostPort: number): void
  /** Takes `length` bytes from `offset` of `source`; with those under way they are at most `WINDOW_BYTES`. */
  send(source: Extents, offset: number, length: number): void
  /** Bytes of all sends that the host has taken, or that are lost; wraps at 2^32. */
  readonly forwarded: number
  /** Moves up to `length` bytes to `offset` of `target`: how many, 0 when there are none now, -1 at the end. */
  receive(target: Extents, offset: number, length: number): number
  /** No send follows; the host sees the end after what is under way. */
  finishSending(): void
  /** No receive follows. */
  stopReceiving(): void
  /** Neither follows; what is under way still goes to the host. No event follows. */
  close(): void
  /** The same at once, and what is under way is lost. */
  abort(): void
}

/** A host program asks for a connection to a port of the guest: the host's port number, undefined if there is no way. */
export type VsockRequestHandler = (guestPort: number, stream: VsockStream) => number | undefined

/** Where connections come from and go to. */
export interface VsockBackend {
  /** The guest asks for a connection to a port of the host; undefined when nobody listens there. */
  connect(hostPort: number): VsockStream | undefined
  /** Who takes the host's requests from now on. */
  onRequest(handler: VsockRequestHandler): void
  /** Ends all streams. */
  close(): void
}

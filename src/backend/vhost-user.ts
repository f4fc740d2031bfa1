/**
 * A vhost-user front end: gives guest memory and virtqueues to a program outside, over connections that somebody else
 * makes and makes again. QEMU 7.2 docs/interop/vhost-user.rst.
 *
 * Requests go out in a row and are acknowledged later, so nothing here waits. A peer that fails is ended by force
 * before anything else happens: only a process that is gone is sure to leave guest memory alone.
 */
import { EPOLLET, EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import type { RamBlock } from '../memory/ram.ts'
import type { VhostBackend, VhostEvents, VhostRing } from '../virtio/vhost-backend.ts'
import { type Alarm, VhostUserConnection } from './vhost-user-connection.ts'
import {
  encodeMemoryTable,
  encodeU64,
  encodeVringAddress,
  encodeVringState,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_GET_VRING_BASE,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VHOST_USER_SET_FEATURES,
  VHOST_USER_SET_MEM_TABLE,
  VHOST_USER_SET_OWNER,
  VHOST_USER_SET_PROTOCOL_FEATURES,
  VHOST_USER_SET_VRING_ADDR,
  VHOST_USER_SET_VRING_BASE,
  VHOST_USER_SET_VRING_CALL,
  VHOST_USER_SET_VRING_ENABLE,
  VHOST_USER_SET_VRING_ERR,
  VHOST_USER_SET_VRING_KICK,
  VHOST_USER_SET_VRING_NUM,
  VRING_STATE_SIZE,
} from './vhost-user-protocol.ts'

const NO_PAYLOAD = new Uint8Array(0)

/** What a back end answered to the first questions. */
export interface VhostUserOffer {
  readonly features: bigint
  readonly protocolFeatures: bigint
  /** Queues that it can serve; undefined when it does not say. */
  readonly queues: number | undefined
}

/** Where connections to the back end come from; one at a time. */
export interface VhostUserSource {
  /** `connected` is given a socket to own, now or later; `ended` is told when the process behind it is gone. */
  open(events: { connected(fd: number): void; ended(reason: string): void }): void
  /** Ends the process behind the present connection by force; `ended` follows. */
  end(): void
  close(): void
}

/** What the back end runs on. */
export interface VhostUserHost {
  readonly loop: EventLoop
  readonly alarm: Alarm
  readonly memory: GuestMemory
  /** RAM: one file, in which the blocks follow one another. */
  readonly ram: { readonly fd: number; readonly blocks: readonly RamBlock[] }
  /** One line when the peer is lost, or back. */
  readonly warn: (message: string) => void
}

/** A ring with its eventfds. */
interface Running {
  readonly ring: VhostRing
  readonly kick: EventFd
  readonly call: EventFd
  readonly error: EventFd
  /** Called when the ring has been stopped; undefined while nobody asked for that. */
  stopped: (() => void) | undefined
}

/** A back end over vhost-user. */
export class VhostUser implements VhostBackend {
  readonly features: bigint
  private connection: VhostUserConnection | undefined
  private session: { readonly features: bigint; readonly events: VhostEvents } | undefined
  private readonly rings = new Map<number, Running>()
  /** Why the connection failed, until the process behind it is gone. */
  private failure: string | undefined
  private wasLost = false

  constructor(
    private readonly offer: VhostUserOffer,
    private readonly source: VhostUserSource,
    private readonly host: VhostUserHost,
  ) {
    this.features = offer.features & ~VHOST_USER_F_PROTOCOL_FEATURES
    source.open({ connected: fd => this.connected(fd), ended: reason => this.ended(reason) })
  }

  start(features: bigint, events: VhostEvents): void {
    this.session = { features: features & this.features, events }
    this.sendFeatures()
  }

  startRing(ring: VhostRing): void {
    const [kick, call, error] = [EventFd.create(), EventFd.create(), EventFd.create()]
    const running: Running = { ring, kick, call, error, stopped: undefined }
    this.rings.set(ring.index, running)
    // Edge-triggered: each signal is one event, and the counter need not be read.
    this.host.loop.watch(call.fd, EPOLLIN | EPOLLET, () => this.session?.events.interrupt(ring.index))
    this.host.loop.watch(error.fd, EPOLLIN | EPOLLET, () => this.host.warn(`it reports an error in ring ${ring.index}`))
    this.sendRing(running)
  }

  stopRing(index: number, done: () => void): void {
    const running = this.rings.get(index)
    if (running === undefined) {
      done()
      return
    }
    const earlier = running.stopped
    if (earlier !== undefined) {
      // A reset of the device overtakes that of one queue.
      running.stopped = () => {
        earlier()
        done()
      }
      return
    }
    running.stopped = done
    if (this.connection === undefined) {
      // With a process that may be there still, `ended` follows.
      if (this.failure === undefined) this.forget(running)
      return
    }
    const request = encodeVringState(index, 0)
    this.connection.query(VHOST_USER_GET_VRING_BASE, request, VRING_STATE_SIZE, () => this.forget(running))
  }

  stop(): void {
    this.session = undefined
  }

  kick(index: number): void {
    this.rings.get(index)?.kick.signal()
  }

  close(): void {
    this.session = undefined
    this.connection?.close()
    this.connection = undefined
    this.source.close()
    for (const running of [...this.rings.values()]) {
      running.stopped = undefined
      this.forget(running)
    }
  }

  private connected(fd: number): void {
    const { loop, alarm } = this.host
    const { features, protocolFeatures } = this.offer
    const connection = new VhostUserConnection(fd, { loop, alarm, failed: reason => this.failed(reason) })
    this.connection = connection
    if ((features & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n) {
      const accepted = protocolFeatures & VHOST_USER_PROTOCOL_F_REPLY_ACK
      connection.command(VHOST_USER_SET_PROTOCOL_FEATURES, encodeU64(accepted))
      connection.acknowledges = accepted !== 0n
    }
    connection.command(VHOST_USER_SET_OWNER, NO_PAYLOAD)
    const { blocks, fd: file } = this.host.ram
    // A descriptor per region, all the same file.
    connection.command(VHOST_USER_SET_MEM_TABLE, encodeMemoryTable(blocks), Array(blocks.length).fill(file))
    this.sendFeatures()
    for (const running of this.rings.values()) this.sendRing(running)
    if (this.wasLost) this.host.warn('the program runs again')
    this.wasLost = false
  }

  private sendFeatures(): void {
    if (this.session === undefined) return
    const protocol = this.offer.features & VHOST_USER_F_PROTOCOL_FEATURES
    this.connection?.command(VHOST_USER_SET_FEATURES, encodeU64(this.session.features | protocol))
  }

  private sendRing({ ring, kick, call, error }: Running): void {
    const { connection } = this
    if (connection === undefined) return
    const { memory } = this.host
    const { index, size, base } = ring
    connection.command(VHOST_USER_SET_VRING_NUM, encodeVringState(index, size))
    connection.command(VHOST_USER_SET_VRING_BASE, encodeVringState(index, base))
    connection.command(
      VHOST_USER_SET_VRING_ADDR,
      encodeVringAddress(index, {
        desc: memory.hostAddress(ring.desc),
        avail: memory.hostAddress(ring.driver),
        used: memory.hostAddress(ring.device),
      }),
    )
    connection.command(VHOST_USER_SET_VRING_ERR, encodeU64(BigInt(index)), [error.fd])
    connection.command(VHOST_USER_SET_VRING_CALL, encodeU64(BigInt(index)), [call.fd])
    connection.command(VHOST_USER_SET_VRING_KICK, encodeU64(BigInt(index)), [kick.fd])
    // Rings start disabled exactly when protocol features can be negotiated.
    if ((this.offer.features & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n)
      connection.command(VHOST_USER_SET_VRING_ENABLE, encodeVringState(index, 1))
    // Buffers may have been there before.
    kick.signal()
  }

  /** The connection is closed already. */
  private failed(reason: string): void {
    this.connection = undefined
    this.failure = reason
    this.source.end()
  }

  private ended(last: string): void {
    const reason = this.failure === undefined ? last : `it ${this.failure}${last === '' ? '' : `; ${last}`}`
    this.failure = undefined
    this.connection?.close()
    this.connection = undefined
    this.wasLost = true
    this.host.warn(`the program is gone: ${reason}`)
    const wereRunning = [...this.rings.values()]
    for (const running of wereRunning) this.forget(running)
    this.session?.events.lost(reason)
  }

  private forget(running: Running): void {
    for (const event of [running.call, running.error]) this.host.loop.unwatch(event.fd)
    for (const event of [running.kick, running.call, running.error]) event[Symbol.dispose]()
    this.rings.delete(running.ring.index)
    running.stopped?.()
  }
}

/** The connections of a socket device, by their two ports. */
import type { VsockConnection } from './vsock-connection.ts'

/** As many as a device serves at a time: each may hold a stream's buffer. */
export const MAX_CONNECTIONS = 512

/** Nested maps, as two ports are more than a number holds. */
export class VsockTable {
  private readonly byGuestPort = new Map<number, Map<number, VsockConnection>>()
  private count = 0

  get isFull(): boolean {
    return this.count >= MAX_CONNECTIONS
  }

  get size(): number {
    return this.count
  }

  find(hostPort: number, guestPort: number): VsockConnection | undefined {
    return this.byGuestPort.get(guestPort)?.get(hostPort)
  }

  add(connection: VsockConnection): void {
    const { hostPort, guestPort } = connection
    let byHostPort = this.byGuestPort.get(guestPort)
    if (byHostPort === undefined) {
      byHostPort = new Map()
      this.byGuestPort.set(guestPort, byHostPort)
    }
    byHostPort.set(hostPort, connection)
    this.count++
  }

  /** Removes a connection if it is still there, and not another of the same ports. */
  remove(connection: VsockConnection): void {
    const { hostPort, guestPort } = connection
    const byHostPort = this.byGuestPort.get(guestPort)
    if (byHostPort === undefined || byHostPort.get(hostPort) !== connection) return
    byHostPort.delete(hostPort)
    if (byHostPort.size === 0) this.byGuestPort.delete(guestPort)
    this.count--
  }

  /** Empties the table; returns what was in it. */
  clear(): readonly VsockConnection[] {
    const all = [...this.byGuestPort.values()].flatMap(byHostPort => [...byHostPort.values()])
    this.byGuestPort.clear()
    this.count = 0
    return all
  }
}

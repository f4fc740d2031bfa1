/** The virtio console on the main thread: the rings of its ports. */
import { BadInput } from '../../base/errors.ts'
import { ByteRing } from '../byte-ring.ts'

/** Bytes of a ring in each direction; a power of two. */
const RING_BYTES = 2 ** 16
/** As many as Linux sets queues up for without trouble. */
const MAX_PORTS = 16
/** A name is part of a path in the guest (/dev/virtio-ports/NAME). */
const NAME = /^[\w.-]{1,64}$/

/** A port in the configuration of a machine. */
export interface ConsolePortConfig {
  /** Absent for a port that the guest finds by its number. */
  readonly name?: string
  /** A terminal (hvc0 for the first) rather than a stream of bytes; port 0 always is one. */
  readonly isConsole?: boolean
  /** Size of the terminal; 0 when it is not known. */
  readonly columns?: number
  readonly rows?: number
}

/** A virtio console in the configuration of a machine. */
export interface VirtioConsoleConfig {
  readonly kind: 'console'
  /** The console comes first; one without a name if absent. */
  readonly ports?: readonly ConsolePortConfig[]
}

/** A port for the device thread. */
export interface ConsolePortPlan {
  readonly name: string
  readonly isConsole: boolean
  readonly columns: number
  readonly rows: number
  /** What the guest sends, a ByteRing. */
  readonly output: SharedArrayBuffer
  /** What the guest will receive, a ByteRing. */
  readonly input: SharedArrayBuffer
}

/** A virtio console for the device thread; the main thread's ends are made of the same rings (`Console`). */
export interface ConsolePlan {
  readonly ports: readonly ConsolePortPlan[]
}

/** Checks a configuration and makes the rings; throws `BadInput`. Nothing of the host is taken. */
export function planConsole({ ports = [{}] }: VirtioConsoleConfig): ConsolePlan {
  if (ports.length < 1 || ports.length > MAX_PORTS)
    throw new BadInput(`a virtio console has 1 to ${MAX_PORTS} ports, not ${ports.length}`)
  const names = ports.map(port => port.name).filter(name => name !== undefined)
  for (const [index, name] of names.entries()) {
    if (!NAME.test(name))
      throw new BadInput(`"${name}" is no name for a console port: use up to 64 letters, digits, ".", "_" or "-"`)
    if (names.indexOf(name) !== index) throw new BadInput(`two console ports are called "${name}"`)
  }
  return {
    ports: ports.map(({ name = '', isConsole = false, columns = 0, rows = 0 }, index) => ({
      name,
      isConsole: index === 0 || isConsole,
      columns,
      rows,
      output: ByteRing.create(RING_BYTES).shared,
      input: ByteRing.create(RING_BYTES).shared,
    })),
  }
}

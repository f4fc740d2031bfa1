/**
 * A network device as it is configured, and the checks that need nothing of the host. Apart from network.ts so that the
 * command line can use it without loading what opens taps and starts programs.
 */
import { BadInput } from '../../base/errors.ts'

/** The most pairs of queues: one for each vCPU of the largest machine. */
const MAX_QUEUES = 16
/** VIRTIO 1.2 §5.1.4.1. */
const MIN_MTU = 68
const MAX_MTU = 65_535
/** The largest of passt: 64 KiB of IPv4, rounded down to 32 bits. A large one is its segmentation offload. */
export const USER_MTU = 65_520

/** What both kinds have. */
interface Interface {
  readonly kind: 'network'
  /** The guest's address, such as "02:12:34:56:78:9a"; absent: a random local one. */
  readonly mac?: string
  /** Told to the guest. */
  readonly mtu?: number
}

/** A TCP port of the host that leads to one of the guest. */
export interface Forward {
  readonly host: number
  readonly guest: number
}

/** A network that needs no privileges: DHCP, DNS, and connections out. */
export interface UserNetworkConfig extends Interface {
  readonly mode: 'user'
  readonly forwards?: readonly Forward[]
  /** passt, by path or name. */
  readonly program?: string
}

/** A tap interface: by its name, or new, or as open descriptors (one for each pair of queues). */
export interface TapNetworkConfig extends Interface {
  readonly mode: 'tap'
  readonly interfaceName?: string
  readonly fds?: readonly number[]
  readonly queues?: number
}

export type NetworkConfig = UserNetworkConfig | TapNetworkConfig

/** Throws `BadInput` for what no host could make; returns the guest's address if one is given. */
export function checkNetwork(config: NetworkConfig): Uint8Array | undefined {
  const mac = config.mac === undefined ? undefined : parseMac(config.mac)
  checkRange('mtu', config.mtu, MIN_MTU, config.mode === 'user' ? USER_MTU : MAX_MTU)
  if (config.mode === 'user')
    for (const { host, guest } of config.forwards ?? []) {
      checkRange('a forwarded port', host, 1, 65_535)
      checkRange('a forwarded port', guest, 1, 65_535)
    }
  else {
    if (config.fds !== undefined && (config.interfaceName !== undefined || config.queues !== undefined))
      throw new BadInput('a tap is given as descriptors or by its name and queues, not both: leave one of them out')
    checkRange('queues', config.queues, 1, MAX_QUEUES)
    checkRange('the number of tap descriptors', config.fds?.length, 1, MAX_QUEUES)
  }
  return mac
}

/** Six bytes in hexadecimal, of one station (VIRTIO 1.2 leaves multicast addresses to multicast). */
function parseMac(text: string): Uint8Array {
  const bytes = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)
    ? Uint8Array.from(text.split(':'), byte => Number.parseInt(byte, 16))
    : undefined
  if (bytes === undefined) throw new BadInput(`mac must be six bytes such as 02:12:34:56:78:9a, not "${text}"`)
  if (((bytes[0] as number) & 1) !== 0 || bytes.every(byte => byte === 0))
    throw new BadInput(`mac ${text} is no address of a single interface: its first byte must be even`)
  return bytes
}

function checkRange(what: string, value: number | undefined, low: number, high: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= low && value <= high))
    throw new BadInput(`${what} must be ${low} to ${high}, not ${value}`)
}

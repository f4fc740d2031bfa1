/** Network devices on the main thread: checks a configuration, opens the tap or starts the user-mode network. */
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { Passt } from '../../backend/passt.ts'
import { BadInput, HostError } from '../../base/errors.ts'
import type { OpenDevice } from './environment.ts'
import { openTapQueues, type TapRequest } from './network-tap.ts'

/** The most pairs of queues: one for each vCPU of the largest machine. */
const MAX_QUEUES = 16
/** VIRTIO 1.2 §5.1.4.1. */
const MIN_MTU = 68
const MAX_MTU = 65_535
/** The largest of passt: 64 KiB of IPv4, rounded down to 32 bits. A large one is its segmentation offload. */
const USER_MTU = 65_520
const DEFAULT_PROGRAM = 'passt'

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

/** A network device as the device thread builds it. */
export interface NetworkPlan {
  readonly name: string
  readonly mac: readonly number[]
  readonly mtu: number | undefined
  /** Taps, one for each pair of queues; or one stream socket. */
  readonly way: { readonly kind: 'tap' | 'stream'; readonly fds: readonly number[] }
}

/** Opens what `config` needs; throws `BadInput` or `HostError`. */
export async function openNetwork(config: NetworkConfig): Promise<OpenDevice<NetworkPlan>> {
  const mac = config.mac === undefined ? randomMac() : parseMac(config.mac)
  checkRange('mtu', config.mtu, MIN_MTU, config.mode === 'user' ? USER_MTU : MAX_MTU)
  return config.mode === 'user' ? await openUser(config, mac) : openTap(config, mac)
}

async function openUser(config: UserNetworkConfig, mac: Uint8Array): Promise<OpenDevice<NetworkPlan>> {
  const { program = DEFAULT_PROGRAM, mtu = USER_MTU, forwards = [] } = config
  for (const { host, guest } of forwards) {
    checkRange('a forwarded port', host, 1, 65_535)
    checkRange('a forwarded port', guest, 1, 65_535)
  }
  for (const { host } of forwards)
    if ((await bindError(host)) === 'EADDRINUSE')
      throw new BadInput(`port ${host} of this host is in use: forward another one to the guest`)
  const passt = await Passt.start({ program, mtu, mac, forwards })
  // passt says nothing about a port that it cannot have.
  for (const { host } of forwards) {
    if ((await bindError(host)) === 'EADDRINUSE') continue
    await passt[Symbol.asyncDispose]()
    throw new BadInput(`passt may not listen at port ${host} of this host: forward one from 1024 on to the guest`)
  }
  const plan = { name: 'net-user', mac: [...mac], mtu, way: { kind: 'stream' as const, fds: [passt.fd] } }
  return { plan, resources: passt }
}

function openTap(config: TapNetworkConfig, mac: Uint8Array): OpenDevice<NetworkPlan> {
  if (config.fds !== undefined && (config.interfaceName !== undefined || config.queues !== undefined))
    throw new BadInput('a tap is given as descriptors or by its name and queues, not both: leave one of them out')
  checkRange('queues', config.queues, 1, MAX_QUEUES)
  checkRange('the number of tap descriptors', config.fds?.length, 1, MAX_QUEUES)
  if (config.fds === undefined && !existsSync('/dev/net/tun'))
    throw new HostError('this host has no tap interfaces: /dev/net/tun is missing (modprobe tun), or use mode=user')
  const request: TapRequest = {
    name: config.interfaceName,
    fds: config.fds,
    queues: config.queues ?? 1,
    mtu: config.mtu,
  }
  const tap = openTapQueues(request)
  const plan = {
    name: `net-${tap.name}`,
    mac: [...mac],
    mtu: tap.mtu,
    way: { kind: 'tap' as const, fds: tap.fds },
  }
  return { plan, resources: tap }
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

/** Locally administered, so that it is no real interface's. */
function randomMac(): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(6))
  bytes[0] = 0x02
  return bytes
}

/** Why nobody can listen at `port` now; undefined when one can. */
function bindError(port: number): Promise<string | undefined> {
  const server = createServer()
  return new Promise(resolve => {
    server.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message))
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(undefined)))
  })
}

function checkRange(what: string, value: number | undefined, low: number, high: number): void {
  if (value !== undefined && !(Number.isInteger(value) && value >= low && value <= high))
    throw new BadInput(`${what} must be ${low} to ${high}, not ${value}`)
}

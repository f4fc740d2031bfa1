/** Network devices on the main thread: checks a configuration, opens the tap or starts the user-mode network. */
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { Passt } from '../../backend/passt.ts'
import { BadInput, HostError } from '../../base/errors.ts'
import type { OpenDevice } from './environment.ts'
import {
  checkNetwork,
  type Forward,
  type NetworkConfig,
  type TapNetworkConfig,
  USER_MTU,
  type UserNetworkConfig,
} from './network-config.ts'
import { checkTap, openTapQueues, type TapRequest } from './network-tap.ts'

export type { NetworkConfig } from './network-config.ts'

const DEFAULT_PROGRAM = 'passt'

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
  const mac = checkNetwork(config) ?? randomMac()
  return config.mode === 'user' ? await openUser(config, mac) : openTap(config, mac)
}

/** Throws `BadInput` for what this host cannot give, as far as that shows without taking it. */
export async function checkHostNetwork(config: NetworkConfig): Promise<void> {
  checkNetwork(config)
  if (config.mode === 'tap') {
    checkTap(config.interfaceName, config.queues ?? 1)
    return
  }
  const { program, forwards = [] } = config
  if (program !== undefined && Bun.which(program) === null)
    throw new BadInput(`the user-mode network needs passt, and ${program} is no program`)
  await checkForwards(forwards)
}

async function checkForwards(forwards: readonly Forward[]): Promise<void> {
  for (const { host } of forwards)
    if ((await bindError(host)) === 'EADDRINUSE')
      throw new BadInput(`port ${host} of this host is in use: forward another one to the guest`)
}

async function openUser(config: UserNetworkConfig, mac: Uint8Array): Promise<OpenDevice<NetworkPlan>> {
  const { program = DEFAULT_PROGRAM, mtu = USER_MTU, forwards = [] } = config
  await checkForwards(forwards)
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

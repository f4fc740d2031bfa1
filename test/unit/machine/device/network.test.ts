import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EventLoop } from '../../../../src/host/event-loop.ts'
import { closeFd } from '../../../../src/host/fd.ts'
import { interfaceMtu, openTap } from '../../../../src/host/tap.ts'
import { type NetworkConfig, type NetworkPlan, openNetwork } from '../../../../src/machine/device/network.ts'
import { createNetwork } from '../../../../src/machine/device/network-device.ts'
import { Timers } from '../../../../src/machine/timers.ts'
import { deviceHarness } from '../../../support/device-harness.ts'
import { GuestNetwork } from '../../../support/guest-network.ts'
import { PacketSocket } from '../../../support/packet-socket.ts'
import { missingPasst } from '../../../support/passt.ts'
import { describeUnless } from '../../../support/skip.ts'
import { missingTap, tapName } from '../../../support/tap.ts'
import { AS_NOBODY, missingNobody } from '../../../support/unprivileged.ts'
import { VirtioMemory } from '../../../support/virtio-memory.ts'
import { frame, header } from '../../virtio/net-frames.ts'

/** A loop that a device of `plan` is built on. */
function deviceOn(plan: NetworkPlan) {
  const loop = new EventLoop()
  const timers = new Timers()
  const memory = new VirtioMemory({ real: true })
  const device = createNetwork(plan, {
    loop,
    timers,
    memory: memory.memory,
    ram: { fd: -1, blocks: [], hold: new SharedArrayBuffer(4) },
    notices: { output: () => {}, inputRoom: () => {}, guestOpened: () => {} },
    debug: () => {},
    warn: () => {},
  })
  return { loop, harness: deviceHarness(device, { memory }) }
}

/** A persistent interface as an administrator makes it. */
class MadeInterface implements Disposable {
  constructor(
    readonly name: string,
    ...words: readonly string[]
  ) {
    spawnSync('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tap', ...words])
  }

  set(...words: readonly string[]): void {
    spawnSync('ip', ['link', 'set', this.name, ...words])
  }

  [Symbol.dispose](): void {
    spawnSync('ip', ['link', 'delete', this.name])
  }
}

/** What another process says that opens the network as nobody. */
function openAsNobody(config: NetworkConfig): string {
  const [setpriv, ...words] = AS_NOBODY
  const opener = join(import.meta.dirname, '../../../support/network-opener.ts')
  return spawnSync(setpriv, [...words, process.execPath, opener, JSON.stringify(config)], { cwd: '/' })
    .stdout.toString()
    .trim()
}

const TAP = { kind: 'network', mode: 'tap' } as const
const USER = { kind: 'network', mode: 'user' } as const

describe('openNetwork', () => {
  it.each([
    ['no address', { ...TAP, mac: 'zz' }, 'mac must be six bytes such as 02:12:34:56:78:9a, not "zz"'],
    ['five bytes', { ...TAP, mac: '02:00:00:00:01' }, 'mac must be six bytes'],
    ['a multicast address', { ...TAP, mac: '01:00:5e:00:00:01' }, 'is no address of a single interface'],
    ['the address zero', { ...USER, mac: '00:00:00:00:00:00' }, 'is no address of a single interface'],
    ['a small MTU', { ...TAP, mtu: 67 }, 'mtu must be 68 to 65535, not 67'],
    ['a large MTU', { ...USER, mtu: 65_521 }, 'mtu must be 68 to 65520, not 65521'],
    ['no queues', { ...TAP, queues: 0 }, 'queues must be 1 to 16, not 0'],
    ['too many queues', { ...TAP, queues: 17 }, 'queues must be 1 to 16, not 17'],
    ['no descriptors', { ...TAP, fds: [] }, 'the number of tap descriptors must be 1 to 16, not 0'],
    ['descriptors and a name', { ...TAP, fds: [3], interfaceName: 'tap0' }, 'leave one of them out'],
    ['port 0', { ...USER, forwards: [{ host: 0, guest: 22 }] }, 'a forwarded port must be 1 to 65535, not 0'],
    ['a long name', { ...TAP, interfaceName: 'sixteen-bytes-xx' }, 'is no name for an interface'],
    ['a name with a slash', { ...TAP, interfaceName: 'a/b' }, 'is no name for an interface'],
    ['a pattern as name', { ...TAP, interfaceName: 'tap%d' }, 'is no name for an interface'],
    ['an interface that is no tap', { ...TAP, interfaceName: 'lo' }, 'lo is no tap interface: name one'],
    [
      'an interface that is no tap, with queues',
      { ...TAP, interfaceName: 'lo', queues: 2 },
      'lo is no tap interface: name one',
    ],
    ['a descriptor of a file', { ...TAP, fds: [0] }, 'fd=0 is no tap interface that was opened for us'],
  ] satisfies readonly (readonly [string, NetworkConfig, string])[])('refuses %s', async (_, config, message) => {
    await expect(openNetwork(config)).rejects.toThrow(message)
  })
})

describeUnless(missingTap(), 'openNetwork for a tap', () => {
  it('makes an interface, brings it up, and takes it away at the end', async () => {
    const interfaceName = tapName('m')
    const { plan, resources } = await openNetwork({ ...TAP, interfaceName, mtu: 9000, mac: '02:0A:b:0:0:1' })
    expect(plan).toMatchObject({ name: `net-${interfaceName}`, mac: [2, 10, 11, 0, 0, 1], mtu: 9000 })
    expect(interfaceMtu(interfaceName)).toBe(9000)
    expect(Number(readFileSync(`/sys/class/net/${interfaceName}/flags`, 'utf8')) & 1).toBe(1)
    await resources[Symbol.asyncDispose]()
    expect(existsSync(`/sys/class/net/${interfaceName}`)).toBe(false)
  })

  it('gives each device a local address of its own', async () => {
    const first = await openNetwork(TAP)
    const second = await openNetwork(TAP)
    expect([first.plan.mac[0], second.plan.mac[0]]).toEqual([2, 2])
    expect(first.plan.mac).not.toEqual(second.plan.mac)
    expect(first.plan.mtu).toBeUndefined()
    await first.resources[Symbol.asyncDispose]()
    await second.resources[Symbol.asyncDispose]()
  })

  it('leaves an interface that is there as it is, and tells the guest its MTU', async () => {
    using made = new MadeInterface(tapName('p'))
    made.set('mtu', '4000')
    const { plan, resources } = await openNetwork({ ...TAP, interfaceName: made.name })
    expect(plan.mtu).toBe(4000)
    expect(Number(readFileSync(`/sys/class/net/${made.name}/flags`, 'utf8')) & 1).toBe(0)
    await resources[Symbol.asyncDispose]()
    expect(existsSync(`/sys/class/net/${made.name}`)).toBe(true)
  })

  it('opens one queue of an interface that was made for several', async () => {
    using made = new MadeInterface(tapName('q'), 'multi_queue')
    const { plan, resources } = await openNetwork({ ...TAP, interfaceName: made.name })
    expect(plan.way.fds).toHaveLength(1)
    await resources[Symbol.asyncDispose]()
  })

  it('refuses several queues of an interface that was made for one', async () => {
    using made = new MadeInterface(tapName('r'))
    await expect(openNetwork({ ...TAP, interfaceName: made.name, queues: 2 })).rejects.toThrow(
      `${made.name} was made for one queue: make it with "ip tuntap add dev ${made.name} mode tap multi_queue"`,
    )
  })

  it('refuses an interface that another program uses', async () => {
    const tap = openTap(tapName('s'), false)
    await expect(openNetwork({ ...TAP, interfaceName: tap.name })).rejects.toThrow('is in use by another program')
    closeFd(tap.fd)
  })

  it('takes descriptors that it is given', async () => {
    const tap = openTap(tapName('t'), false)
    const { plan, resources } = await openNetwork({ ...TAP, fds: [tap.fd] })
    expect(plan).toMatchObject({ name: `net-${tap.name}`, way: { kind: 'tap', fds: [tap.fd] } })
    await resources[Symbol.asyncDispose]()
  })
})

describeUnless(missingNobody() ?? missingPasst(), 'openNetwork without rights', () => {
  it('says how to get a tap', () => {
    const result = openAsNobody({ ...TAP, interfaceName: tapName('u') })
    expect(result).toContain('a tap interface needs rights that we do not have')
    expect(result).toContain(`run "ip tuntap add dev ${tapName('u')} mode tap user 65534" as root`)
  })

  it('opens the user-mode network', () => {
    expect(openAsNobody(USER)).toBe('open net-user')
  })
})

describeUnless(missingTap(), 'createNetwork', () => {
  it('builds a device whose frames come out of the tap', async () => {
    const { plan, resources } = await openNetwork({ ...TAP, interfaceName: tapName('d'), queues: 2 })
    const { harness } = deviceOn(plan)
    using host = new PacketSocket(plan.name.slice(4), { etherType: 0x88b5 })
    harness.request(1, { out: [header(), frame(60)] })
    expect(host.receive()).toEqual(frame(60))
    expect(harness.device.queueSizes).toHaveLength(5)
    harness[Symbol.dispose]()
    await resources[Symbol.asyncDispose]()
  })
})

describeUnless(missingPasst(), 'createNetwork for a user', () => {
  it('builds a device whose guest gets an address', async () => {
    const { plan, resources } = await openNetwork(USER)
    const { harness, loop } = deviceOn(plan)
    const network = new GuestNetwork(harness, Uint8Array.from(plan.mac), () => loop.wait(1000))
    expect(network.discover()).toMatchObject({ mtu: 65_520 })
    expect(plan.mtu).toBe(65_520)
    harness[Symbol.dispose]()
    await resources[Symbol.asyncDispose]()
  })

  it('leads a port of the host to one of the guest', async () => {
    const host = await freePort()
    const { plan, resources } = await openNetwork({ ...USER, forwards: [{ host, guest: 22 }] })
    const { harness, loop } = deviceOn(plan)
    const network = new GuestNetwork(harness, Uint8Array.from(plan.mac), () => loop.wait(1000))
    network.resolve(network.discover().router)
    const client = connect(host, '127.0.0.1')
    client.on('error', () => {})
    await once(client, 'connect')
    expect(() => network.awaitConnection(22)).not.toThrow()
    client.destroy()
    harness[Symbol.dispose]()
    await resources[Symbol.asyncDispose]()
  })

  it('refuses to forward a port that is in use', async () => {
    const server = createServer().listen(0, '0.0.0.0')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await expect(openNetwork({ ...USER, forwards: [{ host: port, guest: 22 }] })).rejects.toThrow(
      `port ${port} of this host is in use`,
    )
    server.close()
  })
})

/** A port that nobody listens at. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '0.0.0.0')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

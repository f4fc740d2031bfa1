/** The devices that are fuzzed, each on a backend in plain memory that answers now or later, whole or in part. */

import { VirtioBalloon } from '../../src/virtio/balloon.ts'
import { VirtioBlk } from '../../src/virtio/blk.ts'
import { VirtioConsole } from '../../src/virtio/console.ts'
import type { VirtioDevice } from '../../src/virtio/device.ts'
import { Fs } from '../../src/virtio/fs.ts'
import { VIRTIO_IOMMU_F_MAP_UNMAP } from '../../src/virtio/iommu-protocol.ts'
import { VirtioNet } from '../../src/virtio/net.ts'
import { type EntropySource, Rng } from '../../src/virtio/rng.ts'
import { VirtioVsock } from '../../src/virtio/vsock.ts'
import { FakeNetBackend } from '../unit/virtio/fake-net-backend.ts'
import { FakeConsolePort } from './fake-console-port.ts'
import { FuzzDisk } from './fuzz-disk.ts'
import { FuzzIommu } from './fuzz-iommu.ts'
import { FuzzVhost } from './fuzz-vhost.ts'
import { FuzzVsock } from './fuzz-vsock.ts'
import { attachRequest, mapRequest } from './iommu-device.ts'
import type { Random } from './random.ts'
import type { DriverRequest, Used } from './virtio-driver.ts'
import type { VirtioPciDriver } from './virtio-pci-driver.ts'

/** A device under test, with what drives its backend. */
export interface FuzzedDevice {
  readonly device: VirtioDevice
  /** Something happens on the host's side. */
  stir?(): void
  /** The host's side comes to rest, with all room there is. */
  settle?(): void
  /** Plausible first bytes of what a driver sends to queue `index`. */
  request?(index: number): Uint8Array
  /** Throws unless the device, freshly started, does its work. `turn` lets time pass. */
  sane(driver: VirtioPciDriver, turn: () => void): void
}

export interface FuzzSubject {
  readonly name: string
  /** The device works only without an IOMMU. */
  readonly needsIdentity?: boolean
  /** What `sane` needs the driver to have negotiated. */
  readonly features?: bigint
  create(random: Random, defer: (task: () => void) => void): FuzzedDevice
}

const TURNS = 1000

/** Sends one request and waits for its answer. */
function ask(driver: VirtioPciDriver, turn: () => void, index: number, request: DriverRequest): Used {
  const queue = driver.queues[index]
  if (queue === undefined) throw new Error(`there is no queue ${index}`)
  queue.add(request)
  queue.kick()
  for (let i = 0; i < TURNS; i++) {
    const used = queue.poll()
    if (used !== undefined) return used
    turn()
  }
  throw new Error(`a request is not answered after the reset: ${driver.logged.join('; ')}`)
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`after the reset: ${what}`)
}

/** A little-endian number in 4 bytes. */
function le32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer)
}

function le(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap(value => [...le32(value)]))
}

const rng: FuzzSubject = {
  name: 'rng',
  create(random, defer) {
    const source: EntropySource = { fill: (buffer, length) => buffer.fill(0, 7, length) }
    const device = new Rng({ name: 'rng', source, defer })
    return {
      device,
      request: () => random.bytes(1),
      sane: (driver, turn) => expect(ask(driver, turn, 0, { in: [16] }).written === 16, 'random bytes'),
    }
  },
}

const balloon: FuzzSubject = {
  name: 'balloon',
  create(random, defer) {
    const device = new VirtioBalloon({ name: 'balloon', memory: { discard() {} }, deflateOnOom: true, defer })
    return {
      device,
      stir() {
        device.setTarget(random.below(16))
        device.requestStatistics(() => {})
      },
      request: () => le(...Array.from({ length: random.below(64) }, () => random.below(0x1_0000))),
      sane(driver, turn) {
        const { inflatedPages } = device.statistics
        ask(driver, turn, 0, { out: [le(1, 2, 3)] })
        expect(device.statistics.inflatedPages === inflatedPages + 3, 'three pages in the balloon')
      },
    }
  },
}

const consoleDevice: FuzzSubject = {
  name: 'console',
  create(random, defer) {
    const ports = [new FakeConsolePort('', true), new FakeConsolePort('second'), new FakeConsolePort('third')]
    const device = new VirtioConsole({ name: 'console', ports, defer })
    const settle = () => {
      for (const [index, port] of ports.entries()) {
        port.room = Number.POSITIVE_INFINITY
        port.takeOutput()
        device.outputRoom(index)
      }
    }
    return {
      device,
      settle,
      stir() {
        const index = random.below(ports.length)
        const port = ports[index] as FakeConsolePort
        const actions = [
          () => device.resize(index, random.below(300), random.below(100)),
          () => device.setOpen(index, random.below(2) === 0),
          () => {
            if (port.available < 10_000) port.type(random.bytes(random.below(2000)))
            device.inputAvailable(index)
          },
          () => {
            port.takeOutput()
            port.room = random.below(2000)
            device.outputRoom(index)
          },
        ]
        actions[random.below(actions.length)]?.()
      },
      // struct virtio_console_control: id, event, value.
      request: () => Uint8Array.of(random.below(4), 0, 0, 0, random.below(9), 0, random.below(2), 0),
      sane(driver, turn) {
        settle()
        ask(driver, turn, 1, { out: [Uint8Array.of(0x6f, 0x6b)] })
      },
    }
  },
}

const net: FuzzSubject = {
  name: 'net',
  create(random, defer) {
    const backend = new FakeNetBackend({ pairs: 2, offloads: random.below(2) === 0 ? 0n : 0xffff_ffffn })
    backend.defer = defer
    const device = new VirtioNet({ name: 'net', mac: Uint8Array.of(2, 0, 0, 0, 0, 1), mtu: 1500, backend })
    const settle = () => {
      for (const [pair, port] of backend.ports.entries()) {
        port.incoming.length = 0
        port.sent.length = 0
        port.capacity = Number.POSITIVE_INFINITY
        backend.events.writable(pair)
      }
    }
    return {
      device,
      settle,
      stir() {
        const pair = random.below(backend.ports.length)
        const port = backend.ports[pair]
        if (port === undefined) return
        port.sent.length = 0
        port.capacity = random.below(20)
        backend.events.writable(pair)
        if (port.incoming.length < 20) port.incoming.push(random.bytes(12 + random.below(3000)))
        backend.events.readable(pair)
        if (random.below(10) > 0) return
        backend.linkUp = !backend.linkUp
        backend.events.linkChanged()
      },
      request: index => (index === 4 ? Uint8Array.of(random.below(6), random.below(6), 1, 0) : random.bytes(12)),
      sane(driver, turn) {
        settle()
        ask(driver, turn, 1, { out: [new Uint8Array(12), new Uint8Array(60)] })
        expect(
          backend.ports.some(port => port.sent.length === 1),
          'a frame goes out',
        )
      },
    }
  },
}

const blk: FuzzSubject = {
  name: 'blk',
  create(random, defer) {
    const backend = new FuzzDisk(random, defer)
    const device = new VirtioBlk({ name: 'disk', backend, serial: 'fuzz', queues: 2 })
    return {
      device,
      stir: () => backend.complete(),
      settle: () => backend.complete(),
      // struct virtio_blk_req: type, reserved, sector.
      request: () => le(random.below(15), 0, random.below(300), 0),
      sane(driver, turn) {
        backend.isReliable = true
        const { in: input } = ask(driver, turn, 0, { out: [le(0, 0, 1, 0)], in: [512, 1] })
        expect(input[1]?.[0] === 0, 'a sector can be read')
      },
    }
  },
}

const vsock: FuzzSubject = {
  name: 'vsock',
  create(random, defer) {
    const backend = new FuzzVsock(random)
    const device = new VirtioVsock({ name: 'vsock', cid: 3, backend, defer })
    // struct virtio_vsock_hdr with the right context ids.
    const header = (length: number, op: number, port: number) => {
      const bytes = new Uint8Array(44)
      const view = new DataView(bytes.buffer)
      view.setUint32(0, 3, true)
      view.setUint32(8, 2, true)
      view.setUint32(16, port, true)
      view.setUint32(20, 1000 + (port % 3), true)
      view.setUint32(24, length, true)
      view.setUint16(28, 1, true)
      view.setUint16(30, op, true)
      view.setUint32(36, 0x1_0000, true)
      return bytes
    }
    return {
      device,
      stir: () => backend.stir(),
      request: () => header(random.below(2) * random.below(2000), random.below(9), random.below(8)),
      sane(driver, turn) {
        driver.queues[0]?.add({ in: [4096] })
        ask(driver, turn, 1, { out: [header(0, 5, 77)] })
        const used = ask(driver, turn, 0, { in: [4096] })
        expect(used.in[0]?.[30] === 3, 'a packet of no connection is answered with RST')
      },
    }
  },
}

const fs: FuzzSubject = {
  name: 'fs',
  needsIdentity: true,
  create(random, defer) {
    const backend = new FuzzVhost(random, defer)
    const device = new Fs('share', new TextEncoder().encode('tag'), backend)
    return {
      device,
      stir: () => backend.stir(),
      settle: () => backend.settle(),
      sane(driver) {
        const before = backend.kicks
        driver.queues[1]?.add({ out: [new Uint8Array(40)], in: [16] })
        driver.queues[1]?.kick()
        expect(backend.serves(0) && backend.serves(1) && backend.kicks > before, 'both rings are served')
      },
    }
  },
}

const iommu: FuzzSubject = {
  name: 'iommu',
  features: VIRTIO_IOMMU_F_MAP_UNMAP,
  create(random, defer) {
    const fuzzed = new FuzzIommu(random, defer)
    return {
      device: fuzzed.device,
      stir: () => fuzzed.stir(),
      settle: () => fuzzed.settle(),
      request: () => fuzzed.request(),
      sane(driver, turn) {
        ask(driver, turn, 0, { out: [attachRequest(5, 8)], in: [4] })
        const { in: input } = ask(driver, turn, 0, { out: [mapRequest(5, 0, 0xfff, 0, 1)], in: [4] })
        expect(input[0]?.[0] === 0 && fuzzed.iommu.domain(5)?.mappingCount === 1, 'a page can be mapped')
      },
    }
  },
}

/** All of them. A new device goes in here. */
export const FUZZ_SUBJECTS: readonly FuzzSubject[] = [rng, balloon, consoleDevice, net, blk, vsock, fs, iommu]

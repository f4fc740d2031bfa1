/**
 * A program for a host with VFIO: compares its containers with what the unit tests take for one, and tries its devices.
 * Words: a task, and the addresses of devices that vfio-pci has. Writes facts, one a line.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { EventFd } from '../../src/host/eventfd.ts'
import { Mapping } from '../../src/host/mapping.ts'
import { Container } from '../../src/vfio/container.ts'
import { VfioGroups } from '../../src/vfio/groups.ts'
import { checkMemoryLimit, memoryLimit } from '../../src/vfio/memory-limit.ts'
import { OpenedDevice } from '../../src/vfio/opened-device.ts'
import * as v from '../../src/vfio/uapi.ts'
import { ContainerComparison, PEER_BYTES, RAM_BYTES } from './container-comparison.ts'
import { FakeContainer } from './fake-container.ts'
import { PairedPort } from './paired-port.ts'

const COMMAND = 4
const MEMORY_AND_MASTER = 6
/** QEMU docs/specs/edu.rst: interrupts are raised and acknowledged by writes. */
const EDU_RAISE = 0x60
const EDU_ACKNOWLEDGE = 0x64
const BAR = v.VFIO_PCI_BAR0_REGION_INDEX
const CONFIG = v.VFIO_PCI_CONFIG_REGION_INDEX

const [task = '', ...addresses] = process.argv.slice(2)
const told = (name: string, value: unknown) => process.stdout.write(`${name}: ${value}\n`)
const attempt = (act: () => unknown): unknown => {
  try {
    return act()
  } catch (error) {
    return (error as Error).message
  }
}

using groups = new VfioGroups()
const plans = addresses.map(address => ({ ...groups.open(address), rom: 'none' as const }))
const devices = plans.map(plan => new OpenedDevice(plan, () => plans.map(mate => ({ ...mate, isInUse: true }))))

const tasks: Readonly<Record<string, () => void>> = {
  /** The container's rules, and a back end's doings in it. */
  containers() {
    const [plan] = plans
    const [device] = devices
    if (plan === undefined || device === undefined) return
    const { info } = plan
    told('ranges', info.usable.map(({ start, end }) => `${start.toString(16)}-${end.toString(16)}`).join(' '))
    told('pages', info.pageSizes.toString(16))
    told('limit', info.limit)
    const real = new Container(plan.containerFd, info)
    using ram = Mapping.anonymous(RAM_BYTES)
    ram.bytes().fill(1)
    const rules = new PairedPort(real, new FakeContainer(info))
    for (let seed = 0; seed < 4; seed++) rules.tryRules(seed, 200, ram.address, RAM_BYTES / 4096)
    told('rules', rules.differences[0] ?? 'the same')
    device.write(CONFIG, COMMAND, 2, MEMORY_AND_MASTER)
    using peer = device.map(BAR, 0, PEER_BYTES)
    const places = { ram: ram.address, peer: peer.address, failing: false }
    const wrong = Array.from({ length: 4 }, (_, seed) => {
      const shown = new FakeContainer(info)
      const port = new PairedPort(real, shown)
      const comparison = new ContainerComparison({ seed, port, shown, ...places })
      comparison.run(200)
      comparison.backend.move({ treatment: 'block' })
      return [...port.differences, ...comparison.differences, ...shown.list][0]
    })
    told('back-end', wrong.find(difference => difference !== undefined) ?? 'the same')
  },

  /** Regions, interrupts and reset of each device; the first is an edu. */
  devices() {
    for (const device of devices) {
      const name = device.address.slice(-4)
      const sizes = device.regions.map(({ size, mappable }) => `${size.toString(16)}${mappable.length > 0 ? 'm' : ''}`)
      told(`${name}-regions`, sizes.join(' '))
      told(`${name}-irqs`, device.irqs.map(({ count, flags }) => `${count}/${flags}`).join(' '))
      told(`${name}-id`, device.read(CONFIG, 0, 4).toString(16))
      const bytes = device.readBytes(CONFIG, 0, 4)
      told(`${name}-bytes`, Buffer.from(bytes).toString('hex'))
      told(`${name}-reset`, device.reset())
    }
    told('past-the-end', devices[0]?.read(CONFIG, 255, 2).toString(16))
    told('missing-region', devices[0]?.read(v.VFIO_PCI_BAR5_REGION_INDEX, 0, 4).toString(16))
  },

  /** All that an edu does with interrupts. */
  interrupts() {
    const [edu] = devices
    if (edu === undefined) return
    edu.write(CONFIG, COMMAND, 2, MEMORY_AND_MASTER)
    told('register', edu.read(BAR, 0, 4).toString(16))
    const raise = (value: number) => edu.write(BAR, EDU_RAISE, 4, value)
    const acknowledge = () => edu.write(BAR, EDU_ACKNOWLEDGE, 4, 0xff)
    using event = EventFd.create()
    edu.setTriggers(v.VFIO_PCI_MSI_IRQ_INDEX, 0, [event.fd])
    raise(1)
    told('msi', event.take())
    acknowledge()
    told(
      'too-many',
      attempt(() => edu.setTriggers(v.VFIO_PCI_MSI_IRQ_INDEX, 0, [event.fd, event.fd])),
    )
    edu.disable(v.VFIO_PCI_MSI_IRQ_INDEX)
    edu.disable(v.VFIO_PCI_MSI_IRQ_INDEX)
    raise(1)
    told('off', event.take())
    acknowledge()
    edu.setTriggers(v.VFIO_PCI_INTX_IRQ_INDEX, 0, [event.fd])
    raise(1)
    told('intx', event.take())
    edu.unmask(v.VFIO_PCI_INTX_IRQ_INDEX)
    told('still-asserted', event.take())
    using resample = EventFd.create()
    edu.setUnmaskTrigger(v.VFIO_PCI_INTX_IRQ_INDEX, resample.fd)
    acknowledge()
    resample.signal()
    told('acknowledged', event.take())
    edu.disable(v.VFIO_PCI_INTX_IRQ_INDEX)
  },

  /** What is said of groups that cannot be had, and a device that is given back while its group stays open. */
  groups() {
    const [address = ''] = addresses
    told(
      'twice',
      attempt(() => groups.open(address)),
    )
    told(
      'elsewhere',
      attempt(() => {
        using others = new VfioGroups()
        return others.open(address)
      }),
    )
    groups.release(address)
    told(
      'again',
      attempt(() => groups.open(address).group === plans[0]?.group),
    )
    groups.release(address)
    const folder = `/sys/bus/pci/devices/${plans[0]?.address}`
    writeFileSync(`${folder}/driver/unbind`, plans[0]?.address ?? '')
    told('unbound', !existsSync(`${folder}/driver`))
    const { containerFd = -1, info = { pageSizes: 4096, usable: [], limit: undefined } } = plans[0] ?? {}
    told('container', new Container(containerFd, info).unmap(0, 4096))
  },

  /** For a user without CAP_IPC_LOCK. */
  limit() {
    told('allowed', memoryLimit())
    told(
      'check',
      attempt(() => checkMemoryLimit(2 ** 24)),
    )
    const [plan] = plans
    if (plan === undefined) return
    using ram = Mapping.anonymous(2 ** 22)
    const container = new Container(plan.containerFd, plan.info)
    told('beyond', container.map(0, 2 ** 22, ram.address, v.VFIO_DMA_MAP_FLAG_READ))
    told('within', container.map(0, 2 ** 18, ram.address, v.VFIO_DMA_MAP_FLAG_READ))
  },
}

tasks[task]?.()

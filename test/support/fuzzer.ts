/**
 * A guest without manners in front of a virtio PCI device: random accesses to configuration space (of the port above
 * the device, too), BAR and the PCI-CFG window, random chains and random bytes in rings, resets at any moment, while a
 * poller looks at the queues when it likes. All from a seed.
 *
 * A run throws when the device throws, works without end for one event, touches memory that it was not given, or does
 * not work like new after a reset.
 *
 * @example new Fuzzer(FUZZ_SUBJECTS[0], seed).run(1000)
 */
import { VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET } from '../../src/virtio/features.ts'
import { VIRTIO_PCI_CAP_PCI_CFG } from '../../src/virtio/pci-layout.ts'
import { DeferredTasks } from './deferred-tasks.ts'
import { FuzzPoller } from './fuzz-poller.ts'
import { FuzzRing } from './fuzz-ring.ts'
import { FuzzSpace } from './fuzz-space.ts'
import type { FuzzedDevice, FuzzSubject } from './fuzz-subjects.ts'
import { Random } from './random.ts'
import { VirtioMemory } from './virtio-memory.ts'
import { type RegisterName, VirtioPciDriver } from './virtio-pci-driver.ts'

const BAR_SIZE = 0x8000
const DRIVER_OK = 4
const NEEDS_RESET = 0x40
/** Rounds of put-off tasks in which a reset has to end, and a request has to be answered. */
const ROUNDS = 10_000
/** Actions between two looks at all of memory. */
const VERIFY_EVERY = 500

const WRITABLE: readonly RegisterName[] = [
  'deviceFeatureSelect',
  'driverFeatureSelect',
  'driverFeature',
  'configMsixVector',
  'deviceStatus',
  'queueSelect',
  'queueSize',
  'queueMsixVector',
  'queueEnable',
  'queueDescLow',
  'queueDescHigh',
  'queueDriverLow',
  'queueDeviceLow',
  'queueReset',
]

/** One device and its tormentor. */
export class Fuzzer {
  /** How often each action was taken, chains that the device used, and the like: shows that a run got somewhere. */
  readonly counts: Record<string, number> = {}
  private readonly random: Random
  private readonly space: FuzzSpace
  private readonly deferred = new DeferredTasks()
  private readonly fuzzed: FuzzedDevice
  private readonly poller: FuzzPoller
  private readonly driver: VirtioPciDriver
  private readonly rings: FuzzRing[] = []
  private readonly actions: readonly (readonly [weight: number, action: () => void])[]
  private readonly totalWeight: number

  constructor(
    private readonly subject: FuzzSubject,
    private readonly seed: number,
  ) {
    this.random = new Random(seed)
    const memory = new VirtioMemory()
    this.poller = new FuzzPoller(this.random)
    this.space = new FuzzSpace(memory, this.random, subject.needsIdentity === true)
    this.fuzzed = subject.create(this.random, this.deferred.defer)
    this.driver = new VirtioPciDriver(this.fuzzed.device, {
      memory,
      space: this.space.dmaSpace,
      packed: true,
      poller: this.poller,
      behindPort: this.random.below(2) === 0,
    })
    this.actions = [
      [60, () => this.ring()?.add()],
      [40, () => this.notify()],
      [20, () => this.deferred.run()],
      [15, () => this.fuzzed.stir?.()],
      [2, () => this.ring()?.scribble()],
      [4, () => this.writeRegister()],
      [4, () => this.accessBar()],
      [4, () => this.accessWindow()],
      [2, () => this.accessConfigSpace()],
      [3, () => this.accessPorts()],
      [10, () => this.poller.look()],
      [3, () => this.poller.giveUp()],
      [4, () => this.space.takeVersion()],
      [8, () => this.space.move()],
      [3, () => this.resetQueue()],
      [2, () => this.driver.enableMsix()],
      [2, () => this.configure()],
      [1, () => this.driver.write('deviceStatus', 0)],
      [1, () => this.resetFunction()],
    ]
    this.totalWeight = this.actions.reduce((sum, [weight]) => sum + weight, 0)
  }

  /** Takes `actions` random actions, and then expects a device that works. */
  run(actions: number): void {
    let action = 0
    try {
      for (; action < actions; action++) {
        this.space.begin()
        this.act()
        if (action % VERIFY_EVERY === 0) this.space.verify()
      }
      this.space.verify()
      this.space.begin()
      this.recover()
    } catch (cause) {
      throw new Error(`${this.subject.name}, seed ${this.seed}, action ${action}: ${String(cause)}`, { cause })
    } finally {
      this.driver.close()
    }
  }

  private act(): void {
    const { random, driver } = this
    // A run should not spend itself on a device that is stuck or not set up.
    const { status } = driver
    if ((status & NEEDS_RESET) !== 0 && random.below(4) === 0) driver.write('deviceStatus', 0)
    if ((status & DRIVER_OK) === 0 && random.below(4) === 0) this.configure()
    let choice = random.below(this.totalWeight)
    for (const [weight, action] of this.actions) {
      choice -= weight
      if (choice >= 0) continue
      action()
      return
    }
  }

  /** Sets the device up, mostly as a driver does. */
  private configure(): void {
    const { random, driver } = this
    driver.map(driver.bar)
    driver.write('deviceStatus', 0)
    const features = driver.offered & random64(random) & ~(random.below(2) === 0 ? VIRTIO_F_RING_PACKED : 0n)
    driver.negotiate(random.below(4) === 0 ? driver.offered : features | VIRTIO_F_RING_RESET)
    for (const index of this.fuzzed.device.queueSizes.keys()) if (random.below(10) > 0) this.enableQueue(index)
    driver.write('deviceStatus', driver.status | DRIVER_OK)
    this.count('configured', 1)
  }

  private enableQueue(index: number): void {
    const { random, driver, fuzzed } = this
    driver.write('queueSelect', index)
    driver.write('driverFeatureSelect', 1)
    const isPacked = (driver.read('driverFeature') & 4) !== 0
    const most = Math.min(fuzzed.device.queueSizes[index] as number, 64)
    const size = isPacked ? 1 + random.below(most) : 2 ** random.below(Math.log2(most) + 1)
    const ring = new FuzzRing(this.space, random, size, isPacked, () => fuzzed.request?.(index) ?? random.bytes(16))
    this.rings[index] = ring
    driver.write('queueSize', size)
    driver.write('queueMsixVector', random.below(4))
    driver.write('queueDescLow', ring.desc)
    driver.write('queueDriverLow', ring.driver)
    driver.write('queueDeviceLow', ring.device)
    driver.write('queueEnable', 1)
  }

  private resetQueue(): void {
    const index = this.random.below(this.fuzzed.device.queueSizes.length)
    this.driver.write('queueSelect', index)
    this.driver.write('queueReset', 1)
    if (this.random.below(2) === 0) this.deferred.run()
    if (this.driver.read('queueEnable') === 0) this.enableQueue(index)
  }

  private resetFunction(): void {
    this.driver.transport.reset()
    this.driver.map(this.driver.bar)
  }

  private notify(): void {
    const { random, driver } = this
    const index = random.below(this.fuzzed.device.queueSizes.length)
    driver.notify(index, [1, 2, 4][random.below(3)], this.value())
  }

  private writeRegister(): void {
    const name = WRITABLE[this.random.below(WRITABLE.length)] as RegisterName
    this.driver.write(name, this.value())
    this.driver.read(name)
  }

  private accessBar(): void {
    const { random, driver } = this
    const page = 0x1000 * random.below(8)
    const address = driver.bar + page + random.below(random.below(2) === 0 ? 0x40 : 0x1000)
    const size = [1, 2, 4, 8][random.below(4)] as number
    if (address + size > driver.bar + BAR_SIZE) return
    driver.mmio.read(address, size)
    driver.mmio.write(address, size, this.value())
  }

  private accessWindow(): void {
    const { random, driver } = this
    const { at } = driver.capability(VIRTIO_PCI_CAP_PCI_CFG)
    driver.writeConfig(at + 4, 1, random.below(8) === 0 ? random.below(256) : 0)
    driver.writeConfig(at + 8, 4, random.below(8) === 0 ? this.value() : random.below(BAR_SIZE / 4) * 4)
    driver.writeConfig(at + 12, 4, random.below(8) === 0 ? this.value() : ((2 ** random.below(3)) as number))
    const size = [1, 2, 4][random.below(3)] as number
    driver.readConfig(at + 16, size)
    driver.writeConfig(at + 16, size, this.value())
  }

  private accessConfigSpace(): void {
    const { random, driver } = this
    const offset = random.below(random.below(2) === 0 ? 256 : 4096)
    const size = [1, 2, 4][random.below(3)] as number
    driver.readConfig(offset, size)
    driver.writeConfig(offset, size, this.value())
    if (random.below(2) === 0) driver.map(driver.bar)
  }

  /** Mostly registers of the port and the device, by ports 0xcf8 to 0xcff. */
  private accessPorts(): void {
    const { random, driver } = this
    const bus = random.below(8) === 0 ? random.below(256) : random.below(2)
    const device = random.below(8) === 0 ? random.below(32) : random.below(2)
    const register = random.below(random.below(2) === 0 ? 0x40 : 0x100) & ~3
    const address = (random.below(16) === 0 ? 0 : 0x8000_0000) + (bus << 16) + (device << 11) + register
    driver.ports.write(0xcf8, random.below(16) === 0 ? 2 : 4, random.below(16) === 0 ? this.value() : address)
    const size = [1, 2, 4, 8][random.below(4)] as number
    const port = 0xcf8 + random.below(8)
    driver.ports.read(port, size)
    driver.ports.write(port, size, this.value())
    driver.numberBuses()
    if (random.below(2) === 0) driver.map(driver.bar)
  }

  private value(): number {
    const { random } = this
    const values = [0, 1, 2, 3, 0xf, 0x40, 0xff, 0xffff, 0xffff_ffff, random.below(0x1_0000), random.below(2 ** 32)]
    return values[random.below(values.length)] as number
  }

  private ring(): FuzzRing | undefined {
    return this.rings[this.random.below(this.rings.length || 1)]
  }

  /** Function level reset, then everything by the book. */
  private recover(): void {
    const { driver, deferred, space, fuzzed, poller } = this
    poller.stop()
    driver.transport.reset()
    driver.map(driver.bar)
    for (let round = 0; driver.status !== 0; round++) {
      if (round === ROUNDS) throw new Error('the reset does not end')
      deferred.run()
      fuzzed.settle?.()
    }
    if (space.movingCount > 0) throw new Error('the device uses memory after its reset')
    space.open()
    fuzzed.sane(driver.start(this.subject.features), () => {
      deferred.run()
      fuzzed.settle?.()
    })
    const { notifications, interrupts } = driver.transport.statistics()
    this.count('notifications', notifications)
    this.count('polled', poller.served)
    this.count('interrupts', interrupts)
  }

  private count(name: string, by: number): void {
    this.counts[name] = (this.counts[name] ?? 0) + by
  }
}

function random64(random: Random): bigint {
  return (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32))
}

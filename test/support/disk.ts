/**
 * A disk as a machine has it, on a real file: opened on this thread, its device driven by the harness.
 *
 * @example
 * await using disk = await openTestDisk({ path })
 * disk.read(0, 512) // { status: 0, written: 513, data }
 */
import { EventLoop } from '../../src/host/event-loop.ts'
import { type DiskPlan, openDisk } from '../../src/machine/device/disk.ts'
import type { DiskConfig } from '../../src/machine/device/disk-config.ts'
import { createDisk } from '../../src/machine/device/disk-device.ts'
import type { VirtioBlk } from '../../src/virtio/blk.ts'
import { type DeviceHarness, deviceHarness, type HarnessOptions } from './device-harness.ts'
import type { DriverRequest, Used } from './virtio-driver.ts'
import { VirtioMemory } from './virtio-memory.ts'

/** struct virtio_blk_outhdr. */
export function blkHeader(type: number, sector = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setBigUint64(8, BigInt(sector), true)
  return bytes
}

/** struct virtio_blk_discard_write_zeroes. */
export function blkSegment(sector: number, sectors: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(sector), true)
  view.setUint32(8, sectors, true)
  view.setUint32(12, flags, true)
  return bytes
}

/** What a request came to. */
export interface BlkAnswer {
  readonly status: number
  readonly written: number
  readonly data: Uint8Array
}

/** The answer in a used request: the last byte of its last buffer is the status. */
export function blkAnswer({ written, in: buffers }: Used): BlkAnswer {
  const all = Buffer.concat(buffers)
  return { status: all.at(-1)!, written, data: new Uint8Array(all.subarray(0, -1)) }
}

/** A block device and its driver. */
export class BlkDriver {
  constructor(
    readonly harness: DeviceHarness,
    /** Lets the back end go on. */
    readonly turn: () => void,
  ) {}

  request(request: DriverRequest, queue = 0): BlkAnswer {
    return blkAnswer(this.harness.request(queue, request, this.turn))
  }

  read(sector: number, size: number): BlkAnswer {
    return this.request({ out: [blkHeader(0, sector)], in: [size, 1] })
  }

  write(sector: number, bytes: Uint8Array): number {
    return this.request({ out: [blkHeader(1, sector), bytes], in: [1] }).status
  }

  flush(): number {
    return this.request({ out: [blkHeader(4)], in: [1] }).status
  }

  discard(sector: number, sectors: number): number {
    return this.request({ out: [blkHeader(11), blkSegment(sector, sectors)], in: [1] }).status
  }

  writeZeroes(sector: number, sectors: number, flags = 0): number {
    return this.request({ out: [blkHeader(13), blkSegment(sector, sectors, flags)], in: [1] }).status
  }
}

/** One with a file behind it. */
export class TestDisk extends BlkDriver {
  constructor(
    harness: DeviceHarness,
    readonly loop: EventLoop,
    readonly device: VirtioBlk,
    readonly warnings: readonly string[],
    private readonly resources: AsyncDisposableStack,
  ) {
    super(harness, () => void loop.wait(100))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync()
  }
}

interface TestDiskOptions extends Omit<HarnessOptions, 'memory' | 'real'> {
  /** Changes what the device thread is given. */
  readonly change?: (plan: DiskPlan) => DiskPlan
}

/** Opens `config` and activates the device. */
export async function openTestDisk(config: Omit<DiskConfig, 'kind'>, options: TestDiskOptions = {}): Promise<TestDisk> {
  await using opened = new AsyncDisposableStack()
  const { plan, resources } = await openDisk({ kind: 'disk', ...config }, 1)
  opened.use(resources)
  const memory = opened.use(new VirtioMemory({ ...options, real: true }))
  const loop = opened.use(new EventLoop())
  const warnings: string[] = []
  const device = createDisk(options.change?.(plan) ?? plan, {
    loop,
    ram: memory.ram!,
    debug: () => {},
    warn: message => void warnings.push(message),
  })
  const harness = opened.use(deviceHarness(device, { ...options, memory }))
  return new TestDisk(harness, loop, device, warnings, opened.move())
}

/** A container of the kernel's and one in memory that get the same calls, and where they answer differently. */
import type { DmaPort } from '../../src/vfio/dma-port.ts'
import type { ContainerInfo } from '../../src/vfio/plan.ts'
import type { FakeContainer } from './fake-container.ts'
import { Random } from './random.ts'

const PAGE = 4096

/** See above. */
export class PairedPort implements DmaPort {
  readonly info: ContainerInfo
  /** In words. */
  readonly differences: string[] = []

  constructor(
    private readonly real: DmaPort,
    private readonly fake: FakeContainer,
  ) {
    this.info = real.info
  }

  map(iova: number, size: number, hostAddress: number, flags: number): number {
    const result = this.real.map(iova, size, hostAddress, flags)
    this.compare(`map ${iova}+${size}>${hostAddress} ${flags}`, result, this.fake.map(iova, size, hostAddress, flags))
    return result
  }

  unmap(iova: number, size: number): number {
    const result = this.real.unmap(iova, size)
    this.compare(`unmap ${iova}+${size}`, result, this.fake.unmap(iova, size))
    return result
  }

  /** Random calls within `pages` of memory at `hostAddress`, many of which break a rule; then everything is unmapped. */
  tryRules(seed: number, count: number, hostAddress: number, pages: number): void {
    const random = new Random(seed)
    const off = () => (random.below(12) === 0 ? random.below(PAGE) : 0)
    for (let i = 0; i < count; i++) {
      const size = random.below(pages) * PAGE + off()
      const near = random.below(64) * PAGE + off()
      const iova = random.below(10) === 0 ? this.edge(random) : near
      if (random.below(5) < 3) this.map(iova, size, hostAddress + off(), random.below(4))
      else this.unmap(iova, size)
    }
    this.unmap(0, 2 ** 53)
  }

  /** Just at the end of what is usable. */
  private edge(random: Random): number {
    const { start, end } = this.info.usable[random.below(this.info.usable.length)] ?? { start: 0, end: 0 }
    const at = random.below(2) === 0 ? start : end + 1
    return Math.max(at - random.below(3) * PAGE, 0)
  }

  private compare(call: string, real: number, fake: number): void {
    if (real !== fake) this.differences.push(`${call}: ${real}, not ${fake}`)
  }
}

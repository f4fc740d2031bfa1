/** The smallest device: gives back what it reads. */
import { Chain } from '../../src/virtio/queue.ts'
import type { DriverRequest, Used, VirtioDriver } from './virtio-driver.ts'

/** Serves all chains of a queue: copies what is readable to what is writable. Returns how many. */
export function echo({ queue }: VirtioDriver): number {
  const chain = new Chain(queue.space)
  let count = 0
  for (; queue.pop(chain); count++) {
    const bytes = new Uint8Array(chain.readable.size)
    chain.readable.read(0, bytes)
    queue.push(chain, chain.writable.write(0, bytes))
  }
  queue.flush()
  return count
}

/** Sends `count` requests, one by one; the answers. */
export function echoMany(driver: VirtioDriver, count: number, request: (i: number) => DriverRequest): readonly Used[] {
  const answers: Used[] = []
  for (let i = 0; i < count; i++) {
    driver.add(request(i))
    echo(driver)
    answers.push(...driver.pollAll())
  }
  return answers
}

/** Adds `count` small requests. */
export function addMany(driver: VirtioDriver, count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => driver.add({ out: [Uint8Array.of(i)] }))
}

/** Pops `count` chains, or as many as there are. */
export function popMany({ queue }: VirtioDriver, count: number): readonly Chain[] {
  const chains: Chain[] = []
  for (let i = 0; i < count; i++) {
    const chain = new Chain(queue.space)
    if (!queue.pop(chain)) break
    chains.push(chain)
  }
  return chains
}

/** The bytes of all readable buffers of each chain. */
export function readAll(chains: readonly Chain[]): readonly (readonly number[])[] {
  return chains.map(({ readable }) => {
    const bytes = new Uint8Array(readable.size)
    readable.read(0, bytes)
    return [...bytes]
  })
}

/** Pushes chains in their order, with nothing written. */
export function pushMany({ queue }: VirtioDriver, chains: readonly (Chain | undefined)[]): void {
  for (const chain of chains) if (chain !== undefined) queue.push(chain, 0)
}

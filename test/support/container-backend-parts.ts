/** A `ContainerBackend` in front of a container in memory, for tests. */
import type { BackendTarget } from '../../src/iommu/endpoint-backend.ts'
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import type { MappingState } from '../../src/iommu/state.ts'
import type { RamBlock } from '../../src/memory/ram.ts'
import { ContainerBackend } from '../../src/vfio/container-backend.ts'
import { PeerMemory } from '../../src/vfio/peer-memory.ts'
import { FakeContainer } from './fake-container.ts'

export const RW = MapFlag.read | MapFlag.write
export const BLOCK: BackendTarget = { treatment: 'block' }
export const BYPASS: BackendTarget = { treatment: 'bypass' }
/** Below and above the hole of a PC, as one piece of this process. */
const BLOCKS = [
  { start: 0, size: 0x1000_0000, hostAddress: 0x7f00_0000_0000 },
  { start: 0x1_0000_0000, size: 0x800_0000, hostAddress: 0x7f00_1000_0000 },
]
export const RAM_LIST = ['0+10000000>7f0000000000 3', '100000000+8000000>7f0010000000 3']
export const BAR = 0xc000_0000
export const BAR_HOST = 0x7e00_0000_0000

export function mapping(start: number, size: number, phys: number, flags: number = RW): MappingState {
  return { start, end: start + size - 1, phys, flags }
}

export function translate(...mappings: readonly MappingState[]): BackendTarget {
  return { treatment: 'translate', mappings }
}

/** A back end in front of a container, which translates with these mappings. */
export function translating(...mappings: readonly MappingState[]) {
  const parts = blocked()
  parts.backend.move(translate(...mappings))
  return parts
}

export function blocked(blocks: readonly RamBlock[] = BLOCKS) {
  const port = new FakeContainer()
  const peers = new PeerMemory()
  const warnings: string[] = []
  const backend = new ContainerBackend({
    name: 'group 7',
    port,
    blocks,
    peers,
    warn: message => warnings.push(message),
  })
  const map = (start: number, size: number, phys: number, flags: number = RW) =>
    backend.map(start, start + size - 1, phys, flags)
  return { port, peers, warnings, backend, map }
}

import { describe, expect, it } from 'vitest'
import { EFAULT, EINVAL, EIO, ENOMEM } from '../../../src/host/errno.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../../src/iommu/outcome.ts'
import {
  BAR,
  BAR_HOST,
  BLOCK,
  BYPASS,
  blocked,
  mapping,
  RAM_LIST,
  translate,
  translating,
} from '../../support/container-backend-parts.ts'

describe('ContainerBackend.move', () => {
  it('maps all of RAM at its own addresses for a bypass', () => {
    const { backend, port } = blocked()
    expect(backend.move(BYPASS)).toBe(Outcome.ok)
    expect(port.list).toEqual(RAM_LIST)
    expect(backend.treatment).toBe('bypass')
  })

  it('maps what a domain has and nothing else', () => {
    const { backend, port } = blocked()
    backend.move(BYPASS)
    const target = translate(
      mapping(0x5000, 0x1000, 0x20_0000),
      mapping(0x10_0000, 0x3000, 0x1_0000_0000, MapFlag.read),
    )
    expect(backend.move(target)).toBe(Outcome.ok)
    expect(port.list).toEqual(['5000+1000>7f0000200000 3', '100000+3000>7f0010000000 1'])
    expect(backend.treatment).toBe('translate')
  })

  it('leaves nothing for a block', () => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    expect(backend.move(BLOCK)).toBe(Outcome.ok)
    expect(port.list).toEqual([])
    expect(backend.state()).toMatchObject({ treatment: 'block', mappings: 0, pinnedBytes: 0, unmapCalls: 1 })
  })

  it('leaves nothing for a block even when the host refuses once', () => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    port.unmapErrors = [EIO]
    expect(backend.move(BLOCK)).toBe(Outcome.ok)
    expect(port.list).toEqual([])
    expect(backend.state()).toMatchObject({ mappings: 0, pinnedBytes: 0 })
  })

  it('throws when the host keeps to it', () => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0))
    port.unmapErrors = [EIO, EIO]
    expect(() => backend.move(BLOCK)).toThrow(
      'group 7: the host does not take back what its devices reach: VFIO_IOMMU_UNMAP_DMA failed: EIO (errno 5)',
    )
  })

  it.each([
    ['memory', ENOMEM, Outcome.noMemory],
    ['another reason', EFAULT, Outcome.deviceError],
  ])('has what was there when the host refuses for %s', (_, errno, outcome) => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    const before = port.list
    port.mapErrors = [0, errno]
    expect(backend.move(BYPASS)).toBe(outcome)
    expect(port.list).toEqual(before)
    expect(backend.treatment).toBe('translate')
  })

  it('has what was there when the host refuses a later mapping of a domain', () => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    const before = port.list
    port.mapErrors = [0, ENOMEM]
    expect(backend.move(translate(mapping(0x5000, 0x1000, 0x8000), mapping(0x7000, 0x1000, 0)))).toBe(Outcome.noMemory)
    expect(port.list).toEqual(before)
    expect(backend.treatment).toBe('translate')
  })

  it('says what the host does not reach of RAM', () => {
    const { backend, port } = blocked([{ start: 2 ** 39, size: 0x1000, hostAddress: 0x7f00_0000_0000 }])
    expect(backend.move(BYPASS)).toBe(Outcome.deviceError)
    expect(backend.error).toBe('VFIO_IOMMU_MAP_DMA failed: EINVAL (errno 22)')
    expect(port.list).toEqual([])
  })

  it('has nothing when even that cannot be had again', () => {
    const { backend, port } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    port.mapErrors = [0, ENOMEM, 0, ENOMEM]
    expect(backend.move(BYPASS)).toBe(Outcome.noMemory)
    expect(port.list).toEqual([])
    expect(backend.state()).toMatchObject({ treatment: 'block', mappings: 0, pinnedBytes: 0 })
  })

  it('fails within the limit of memory that may be locked', () => {
    const { backend, port } = blocked()
    port.lockable = 0x1000_0000
    expect(backend.move(BYPASS)).toBe(Outcome.noMemory)
    expect(port.list).toEqual([])
    expect(backend.error).toBe(
      'VFIO_IOMMU_MAP_DMA failed: ENOMEM (errno 12): this process may lock no more memory (ulimit -l)',
    )
  })
})

describe('ContainerBackend.map', () => {
  it('makes exactly one call for a range of RAM', () => {
    const { port, backend, map } = translating()
    expect(map(0x5000, 0x80_0000, 0x1_0000_0000)).toBe(Outcome.ok)
    expect(port.calls).toBe(1)
    expect(backend.state()).toEqual({
      name: 'group 7',
      treatment: 'translate',
      mappings: 1,
      limit: 64,
      pinnedBytes: 0x80_0000,
      mapCalls: 1,
      unmapCalls: 0,
    })
  })

  it.each([
    [MapFlag.read, 1],
    [MapFlag.write, 2],
    [MapFlag.read | MapFlag.write | MapFlag.mmio, 3],
  ])('allows with flags %d what the guest allows', (flags, host) => {
    const { port, map } = translating()
    map(0x5000, 0x1000, 0, flags)
    expect(port.list).toEqual([`5000+1000>7f0000000000 ${host}`])
  })

  it('asks nothing of the host for a mapping that allows nothing', () => {
    const { port, backend, map } = translating()
    expect(map(0x5000, 0x1000, 0, MapFlag.mmio)).toBe(Outcome.ok)
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.ok)
    expect(port.calls).toBe(0)
  })

  it('maps of a range what is RAM', () => {
    const { port, map } = translating()
    expect(map(0x4000_0000, 0x1_0800_0000, 0)).toBe(Outcome.ok)
    expect(port.list).toEqual(['40000000+10000000>7f0000000000 3', '140000000+8000000>7f0010000000 3'])
  })

  it('maps nothing for what is neither RAM nor a device', () => {
    const { port, backend, map } = translating()
    expect(map(0x5000, 0x1000, 0xfee0_0000, MapFlag.write | MapFlag.mmio)).toBe(Outcome.ok)
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.ok)
    expect(port.calls).toBe(0)
  })

  it('undoes the first piece when the second fails', () => {
    const { port, backend, map } = translating(mapping(0x5000, 0x1000, 0))
    port.mapErrors = [0, ENOMEM]
    expect(map(0x4000_0000, 0x1_0800_0000, 0)).toBe(Outcome.noMemory)
    expect(port.list).toEqual(['5000+1000>7f0000000000 3'])
    expect(backend.state()).toMatchObject({ mappings: 1, pinnedBytes: 0x1000 })
  })

  it('fails at the host limit without a call, and works again below it', () => {
    const pages = Array.from({ length: 64 }, (_, page) => mapping(page * 0x2000, 0x1000, 0))
    const { port, backend, map } = translating(...pages)
    const { calls } = port
    expect(map(0x100_0000, 0x1000, 0)).toBe(Outcome.noMemory)
    expect(port.calls).toBe(calls)
    expect(backend.error).toBe(
      'the host takes no more than 64 mappings (parameter dma_entry_limit of vfio_iommu_type1)',
    )
    backend.unmap(0, 0xfff)
    expect(map(0x100_0000, 0x1000, 0)).toBe(Outcome.ok)
  })

  it('warns of each kind of refusal once', () => {
    const { port, warnings, map } = translating()
    port.mapErrors = [EFAULT, EFAULT]
    expect(map(0x5000, 0x1000, 0)).toBe(Outcome.deviceError)
    expect(map(0x5000, 0x1000, 0)).toBe(Outcome.deviceError)
    expect(warnings).toEqual(['group 7: VFIO_IOMMU_MAP_DMA failed: EFAULT (errno 14)'])
  })
})

describe('ContainerBackend.unmap', () => {
  it.each([
    ['exactly', 0x5000, 0x5fff],
    ['with a range that starts and ends within other pages', 0x4800, 0x6123],
    ['with a range beyond all addresses', 0x5000, 2 ** 53 - 1],
  ])('takes a mapping away %s', (_, start, end) => {
    const { port, backend } = translating(mapping(0x5000, 0x1000, 0))
    expect(backend.unmap(start, end)).toBe(Outcome.ok)
    expect(port.list).toEqual([])
    expect(backend.state()).toMatchObject({ mappings: 0, pinnedBytes: 0, unmapCalls: 1 })
  })

  it('takes many away in one call, and leaves the others', () => {
    const { port, backend } = translating(
      mapping(0x1000, 0x1000, 0),
      mapping(0x4000, 0x2000, 0),
      mapping(0x7000, 0x1000, 0),
      mapping(0xa000, 0x1000, 0),
    )
    expect(backend.unmap(0x4000, 0x9fff)).toBe(Outcome.ok)
    expect(port.list).toEqual(['1000+1000>7f0000000000 3', 'a000+1000>7f0000000000 3'])
    expect(backend.state()).toMatchObject({ mappings: 2, pinnedBytes: 0x2000, unmapCalls: 1 })
  })

  it('asks nothing of the host where nothing is', () => {
    const { port, backend } = translating()
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.ok)
    expect(backend.unmap(0x5001, 0x5ffe)).toBe(Outcome.ok)
    expect(port.calls).toBe(0)
  })

  it('leaves nothing at all when the host refuses', () => {
    const { port, backend, map } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    port.unmapErrors = [EINVAL]
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.deviceError)
    expect(port.list).toEqual([])
    expect(backend.treatment).toBe('block')
    expect(map(0x5000, 0x1000, 0)).toBe(Outcome.deviceError)
  })

  it('says what the host said, and not what it said before', () => {
    const { port, backend, map } = translating(mapping(0x5000, 0x1000, 0))
    port.mapErrors = [EFAULT]
    map(0x7000, 0x1000, 0)
    port.unmapErrors = [EINVAL]
    backend.unmap(0x5000, 0x5fff)
    expect(backend.error).toBe('VFIO_IOMMU_UNMAP_DMA failed: EINVAL (errno 22)')
  })
})

describe('ContainerBackend in front of a host that disagrees', () => {
  it('leaves nothing at all when the host has less than it should', () => {
    const { port, backend } = translating(mapping(0x5000, 0x1000, 0), mapping(0x9000, 0x1000, 0x4000))
    port.entries.delete(0x5000)
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.deviceError)
    expect(port.list).toEqual([])
    expect(backend.state()).toMatchObject({ treatment: 'block', mappings: 0, pinnedBytes: 0 })
  })

  it('leaves nothing at all, wherever it is, when the host has more than it should', () => {
    const { port, backend } = translating(mapping(0x5000, 0x1000, 0), mapping(0x7000, 0x1000, 0x4000))
    const astray = { size: 0x1000, hostAddress: 0x7f00_0000_0000, flags: 3 }
    port.entries.set(0x6000, astray).set(0x10_0000_0000, astray)
    expect(backend.unmap(0x5000, 0x7fff)).toBe(Outcome.deviceError)
    expect(port.list).toEqual([])
    expect(backend.move(translate(mapping(0x5000, 0x1000, 0)))).toBe(Outcome.ok)
    expect(port.list).toEqual(['5000+1000>7f0000000000 3'])
  })
})

describe('ContainerBackend.abandon', () => {
  it('succeeds at everything from then on without a call', () => {
    const { port, backend, peers, map } = translating(mapping(0x5000, 0x1000, 0), mapping(0x7000, 0x1000, BAR))
    const { calls } = port
    backend.abandon()
    peers.add(BAR, 0x4000, BAR_HOST)
    expect(backend.unmap(0x5000, 0x5fff)).toBe(Outcome.ok)
    expect(map(0x5000, 0x1000, 0)).toBe(Outcome.ok)
    expect(backend.move(BYPASS)).toBe(Outcome.ok)
    expect(backend.state()).toMatchObject({ treatment: 'bypass', mappings: 0, pinnedBytes: 0 })
    expect(port.calls).toBe(calls)
  })
})

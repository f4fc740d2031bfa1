import { describe, expect, it } from 'vitest'
import { EFAULT, EINVAL } from '../../../src/host/errno.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { BAR, BAR_HOST, BYPASS, blocked, RAM_LIST, RW, translating } from '../../support/container-backend-parts.ts'

describe('ContainerBackend with memory of other devices', () => {
  it('maps it by the address that this process has', () => {
    const { port, backend, peers, map } = translating()
    peers.add(BAR, 0x4000, BAR_HOST)
    expect(map(0x5000, 0x1000, BAR + 0x2000, RW | MapFlag.mmio)).toBe(Outcome.ok)
    expect(port.list).toEqual(['5000+1000>7e0000002000 3'])
    expect(backend.state()).toMatchObject({ mappings: 1, pinnedBytes: 0 })
  })

  it('fails where the host does not map it', () => {
    const { port, peers, map } = translating()
    peers.add(BAR, 0x4000, BAR_HOST)
    port.mapErrors = [EFAULT]
    expect(map(0x5000, 0x1000, BAR, RW | MapFlag.mmio)).toBe(Outcome.deviceError)
    expect(port.list).toEqual([])
  })

  it('follows it when it moves while it is mapped', () => {
    const { port, peers, map } = translating()
    map(0x5000, 0x4000, BAR)
    map(0x10_0000, 0x1000, 0)
    const ram = '100000+1000>7f0000000000 3'
    peers.add(BAR + 0x1000, 0x2000, BAR_HOST)
    expect(port.list).toEqual(['6000+2000>7e0000000000 3', ram])
    peers.remove(BAR + 0x1000)
    expect(port.list).toEqual([ram])
    peers.add(BAR + 0x3000, 0x2000, BAR_HOST)
    expect(port.list).toEqual(['8000+1000>7e0000000000 3', ram])
  })

  it('does not bring it back after an unmap', () => {
    const { port, backend, peers, map } = translating()
    map(0x5000, 0x4000, BAR)
    backend.unmap(0x5000, 0x8fff)
    peers.add(BAR, 0x4000, BAR_HOST)
    expect(port.list).toEqual([])
  })

  it('has it in a bypass, except where the host does not reach', () => {
    const { port, backend, peers } = blocked()
    peers.add(2 ** 40, 0x1000, BAR_HOST)
    backend.move(BYPASS)
    expect(port.list).toEqual(RAM_LIST)
    peers.add(BAR, 0x4000, BAR_HOST + 0x1000)
    expect(port.list).toEqual([RAM_LIST[0], 'c0000000+4000>7e0000001000 3', RAM_LIST[1]])
    peers.remove(BAR)
    peers.remove(2 ** 40)
    expect(port.list).toEqual(RAM_LIST)
  })

  it('leaves one in place when another one goes', () => {
    const { port, backend, peers } = blocked()
    backend.move(BYPASS)
    peers.add(BAR, 0x4000, BAR_HOST)
    peers.add(BAR + 0x4000, 0x1000, BAR_HOST + 0x8000)
    const { calls } = port
    peers.remove(BAR)
    expect(port.calls).toBe(calls + 1)
    expect(port.list).toEqual([RAM_LIST[0], 'c0004000+1000>7e0000008000 3', RAM_LIST[1]])
  })

  it('bypasses without it when the host does not map it, and says so', () => {
    const { port, backend, peers, warnings } = blocked()
    peers.add(BAR, 0x4000, BAR_HOST)
    port.mapErrors = [0, EFAULT]
    expect(backend.move(BYPASS)).toBe(Outcome.ok)
    expect(port.list).toEqual(RAM_LIST)
    expect(warnings).toEqual(['group 7: VFIO_IOMMU_MAP_DMA failed: EFAULT (errno 14)'])
  })

  it('leaves nothing at all when the host does not take it back', () => {
    const { port, backend, peers, map, warnings } = translating()
    peers.add(BAR, 0x4000, BAR_HOST)
    peers.add(BAR + 0x4000, 0x1000, BAR_HOST + 0x8000)
    map(0x5000, 0x1000, BAR)
    map(0x7000, 0x2000, BAR + 0x3000)
    map(0x9000, 0x1000, 0)
    port.unmapErrors = [EINVAL]
    peers.remove(BAR)
    expect(port.list).toEqual([])
    expect(backend.treatment).toBe('block')
    expect(warnings).toHaveLength(1)
  })

  it('has the other one where one goes that was in its place', () => {
    const { port, peers, map } = translating()
    peers.add(BAR, 0x1000, BAR_HOST)
    peers.add(BAR, 0x2000, BAR_HOST + 0x8000)
    map(0x5000, 0x2000, BAR)
    expect(port.list).toEqual(['5000+1000>7e0000000000 3', '6000+1000>7e0000009000 3'])
    peers.remove(BAR)
    expect(port.list).toEqual(['5000+2000>7e0000008000 3'])
  })

  it('takes RAM where both are', () => {
    const { port, peers, map } = translating()
    peers.add(0xfff_f000, 0x2000, BAR_HOST)
    map(0x5000, 0x4000, 0xfff_e000)
    expect(port.list).toEqual(['5000+2000>7f000fffe000 3', '7000+1000>7e0000001000 3'])
  })
})

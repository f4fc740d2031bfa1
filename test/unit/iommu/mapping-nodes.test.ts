import { describe, expect, it } from 'vitest'
import { MappingNodes, sequenceOf } from '../../../src/iommu/mapping-nodes.ts'

describe('MappingNodes', () => {
  it('has an odd sequence number while it changes, and another one behind each change', () => {
    const nodes = new MappingNodes(10)
    const numbers = [nodes.begin, nodes.end, nodes.begin, nodes.end].map(step => {
      step.call(nodes)
      return sequenceOf(nodes.words)
    })
    expect(numbers).toEqual([1, 2, 3, 4])
  })

  it('gives the same node again', () => {
    const nodes = new MappingNodes(10)
    const { bytes } = nodes
    const first = nodes.take(0x1234, 4)
    const second = nodes.take(0x1234, 4)
    expect([nodes.words[first], nodes.bytes - bytes]).toEqual([0x1200, 2 * 136])
    nodes.release(first)
    expect([nodes.take(0, 0), nodes.take(0, 0) - second]).toEqual([first, second - first])
  })

  it('has as many nodes as it was made for, and does not reserve them before', () => {
    const nodes = new MappingNodes(1000)
    expect([nodes.prepare(2 * 1000 + 4096), nodes.prepare(2 * 1000 + 4098)]).toEqual([true, false])
    expect(new MappingNodes(2 ** 20).shared.byteLength).toBeLessThan(8 * 2 ** 20)
  })

  it('has directories for 1024 domains, and gives them again', () => {
    const nodes = new MappingNodes(10)
    const directories = Array.from({ length: 1024 }, () => nodes.takeDirectory())
    expect(new Set(directories).size).toBe(1024)
    expect(nodes.takeDirectory()).toBeUndefined()
    nodes.releaseDirectory(directories[7] as number)
    expect([nodes.takeDirectory(), nodes.takeDirectory()]).toEqual([directories[7], undefined])
  })
})

import { describe, expect, it } from 'vitest'
import { createPci } from '../../../src/arch/x86-64/pci.ts'
import { Bus } from '../../../src/bus/bus.ts'
import { FakePciHost } from '../../support/pci-host.ts'
import { testBar, testEndpoint } from '../../support/pci-machine.ts'

describe('createPci', () => {
  function create() {
    const ports = new Bus('port')
    const changes: number[] = []
    const mmio: Bus = new Bus('mmio', undefined, () => changes.push(mmio.ranges().length))
    const resets: string[] = []
    const host = new FakePciHost()
    const pci = createPci({ ports, mmio, host, onReset: () => resets.push('reset') })
    return { pci, ports, mmio, changes, resets, host }
  }

  it('answers at the ports and in ECAM alike', () => {
    const { pci, ports, mmio } = create()
    pci.add(testEndpoint())
    ports.write(0xcf8, 4, 0x8000_0800)
    expect(ports.read(0xcfc, 4)).toBe(0x5678_1234)
    expect(mmio.read(0xe000_8000, 4)).toBe(0x5678_1234)
  })

  it('has everything placed after start, with interrupt lines as the DSDT routes them', () => {
    const { pci, mmio, changes } = create()
    pci.add(testEndpoint({ bars: [testBar()], interruptPin: 1 }))
    pci.add(testEndpoint({ bars: [testBar({ size: 2 ** 28, kind: 'memory64' })] }), { port: pci.addPort() })
    pci.start()
    expect(mmio.ranges().map(range => range.start)).toEqual([0xc000_0000, 0xd000_0000, 0xe000_0000])
    expect(mmio.read(0xe000_803c, 2)).toBe(0x0111)
    expect(changes).toEqual([1, 2, 3])
  })

  it('resets the machine at port 0xcf9', () => {
    const { ports, resets } = create()
    ports.write(0xcf9, 1, 6)
    expect(resets).toEqual(['reset'])
  })

  it('takes everything off the bus at close', () => {
    const { pci, mmio, host } = create()
    pci.add(testEndpoint({ bars: [testBar()], msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 8 * 128 }, host }))
    pci.start()
    pci.close()
    expect(mmio.ranges().map(range => range.name)).toEqual(['ECAM'])
    expect(host.vectors[0]?.isClosed).toBe(true)
  })
})

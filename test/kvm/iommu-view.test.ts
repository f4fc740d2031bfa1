import { expect, it } from 'vitest'
import { BadInput } from '../../src/base/errors.ts'
import { type IommuEvent, Machine, type MachineConfig } from '../../src/index.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { until } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

/** A machine whose guest does nothing. */
function idle(options: Partial<MachineConfig> = {}): Machine {
  return new Machine({
    memoryMiB: 16,
    cpus: 1,
    kernel: { image: new Assembler().spin().image(), name: 'micro-guest' },
    devices: [{ kind: 'rng' }, { kind: 'balloon' }, { kind: 'console' }],
    iommu: { endpoints: 'all' },
    ...options,
  })
}

describeUnless(missingKvm(), 'the view into the IOMMU', () => {
  it('shows the endpoints, and their regions', async () => {
    await using machine = idle()
    await machine.start()
    const state = await machine.iommu?.state()
    const reserved = [{ kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }]
    expect(state?.endpoints).toEqual([
      { id: 0x08, name: 'rng0', domain: null, treatment: 'bypass', reserved, faults: 0 },
      { id: 0x18, name: 'console0', domain: null, treatment: 'bypass', reserved, faults: 0 },
    ])
    expect(state?.domains).toEqual([])
  })

  it('shows how devices are treated that the guest may not leave alone', async () => {
    await using machine = idle({ iommu: { endpoints: ['console0'], bypass: false } })
    await machine.start()
    expect((await machine.iommu?.state())?.endpoints).toMatchObject([{ name: 'console0', treatment: 'block' }])
  })

  it('has an IOMMU without endpoints', async () => {
    await using machine = idle({ iommu: { endpoints: [] } })
    await machine.start()
    expect((await machine.iommu?.state())?.endpoints).toEqual([])
  })

  it('has none where the machine has none', () => {
    expect(new Machine({ ...idle().config, iommu: undefined } as unknown as MachineConfig).iommu).toBeUndefined()
  })

  it('tells of a fault on demand, and that the guest has no buffer for it', async () => {
    const events: IommuEvent[] = []
    await using machine = idle()
    machine.iommu?.onEvent(event => events.push(event))
    await machine.start()
    await machine.iommu?.injectFault({ endpoint: 'rng0', address: 0x1234_5000, access: 'write' })
    await until(() => events.length >= 3)
    expect(events).toMatchObject([
      { type: 'start', endpoints: [{ id: 0x08 }, { id: 0x18 }] },
      { type: 'fault', endpoint: 0x08, name: 'rng0', reason: 'mapping', access: 'write', address: '0x12345000' },
      { type: 'drop', endpoint: 0x08 },
    ])
  })

  it('makes events from the moment on when somebody listens, and no longer', async () => {
    await using machine = idle()
    await machine.start()
    const fault = { endpoint: 0x08, address: 0x1000 }
    await machine.iommu?.injectFault(fault)
    const events: IommuEvent[] = []
    const stop = machine.iommu?.onEvent(event => events.push(event))
    await machine.iommu?.injectFault({ ...fault, address: 0x2000 })
    await until(() => events.length >= 3)
    stop?.()
    await machine.iommu?.injectFault(fault)
    expect((await machine.iommu?.state())?.counters.faults).toBe(3)
    expect(events.map(({ type }) => type)).toEqual(['start', 'fault', 'drop'])
    expect(events[1]).toMatchObject({ address: '0x2000' })
  })

  it('refuses a fault of nobody, and mappings of no domain', async () => {
    await using machine = idle()
    await machine.start()
    await expect(machine.iommu?.injectFault({ endpoint: 'disk0', address: 0 })).rejects.toThrow(BadInput)
    await expect(machine.iommu?.mappings(1)).rejects.toThrow('the IOMMU has no domain 1')
  })

  it('still has the last state and the findings when the machine has ended', async () => {
    const machine = idle()
    await machine.start()
    await machine.iommu?.injectFault({ endpoint: 'console0', address: 0 })
    await machine.close()
    expect((await machine.iommu?.state())?.counters.faults).toBe(1)
    expect(await machine.iommu?.findings()).toEqual([])
  })

  it('counts the device among the others', async () => {
    await using machine = idle()
    await machine.start()
    expect((await machine.deviceStatistics()).map(({ name }) => name)).toContain('iommu')
  })
})

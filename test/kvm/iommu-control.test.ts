import { expect, it } from 'vitest'
import { BadInput } from '../../src/base/errors.ts'
import { machineControl } from '../../src/control/machine-control.ts'
import type { MachineConfig } from '../../src/machine/config.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

interface Lines {
  readonly lines: readonly string[]
  readonly next: number
}

/** A guest that does nothing, before an entropy device. */
async function idle(options: Partial<MachineConfig> = { iommu: { endpoints: 'all' } }): Promise<Machine> {
  const machine = microMachine(new Assembler().spin(), { devices: [{ kind: 'rng' }], ...options })
  await machine.start()
  return machine
}
const control = (machine: Machine) => machineControl(machine, { name: 'one', kernel: 'micro-guest', startedMs: 0 })
const typesOf = ({ lines }: Lines) => lines.map(line => (JSON.parse(line) as { type: string }).type)

describeUnless(missingKvm(), 'iommuControl', () => {
  it('tells the state, the findings, and the counters of the device', async () => {
    await using machine = await idle()
    const ask = control(machine)
    expect(await ask('iommuState', {})).toMatchObject({ endpoints: [{ id: 8, name: 'rng0' }], device: { drops: 0 } })
    expect(await ask('iommuFindings', {})).toEqual([])
  })

  it('traces from the first poll on', async () => {
    await using machine = await idle()
    const ask = control(machine)
    await ask('iommuFault', { endpoint: 'rng0', address: 0x1000 })
    const first = (await ask('iommuTrace', {})) as Lines
    expect(typesOf(first)).toEqual(['start'])
    await ask('iommuFault', { endpoint: 8, address: 0x2000, reason: 'unknown', access: 'write' })
    const second = (await ask('iommuTrace', { cursor: first.next })) as Lines
    expect(typesOf(second)).toEqual(['fault', 'drop'])
    expect(JSON.parse(second.lines[0] ?? '')).toMatchObject({ address: '0x2000', reason: 'unknown', access: 'write' })
  })

  it.each([
    ['iommuMappings', {}, 'domain must be a whole number from 0 to 4294967295'],
    ['iommuMappings', { domain: 1.5 }, 'domain must be a whole number'],
    ['iommuMappings', { domain: 1, from: -1 }, 'from must be a whole number'],
    ['iommuMappings', { domain: 1, limit: 0 }, 'limit must be a whole number from 1 to 4096'],
    ['iommuMappings', { domain: 1 }, 'the IOMMU has no domain 1'],
    ['iommuTrace', { cursor: 'x' }, 'cursor must be a whole number'],
    ['iommuFault', { address: 1 }, 'endpoint must be the name of a device'],
    ['iommuFault', { endpoint: 'net0', address: 1 }, 'the IOMMU has no endpoint "net0"'],
    ['iommuFault', { endpoint: 8, address: 2 ** 53 }, 'address must be a whole number'],
    ['iommuFault', { endpoint: 8, address: 1, reason: 'x' }, 'reason must be one of mapping, domain, unknown'],
    ['iommuFault', { endpoint: 8, address: 1, access: 'x' }, 'access must be one of read, write'],
    ['iommuNothing', {}, 'this version knows no request "iommuNothing"'],
  ])('refuses %s %j', async (method, params, phrase) => {
    await using machine = await idle()
    const refusal = control(machine)(method, params)
    await expect(refusal).rejects.toThrow(BadInput)
    await expect(refusal).rejects.toThrow(phrase)
  })

  it.each(['iommuState', 'iommuTrace', 'iommuFault'])('refuses %s of a machine without an IOMMU', async method => {
    await using machine = await idle({})
    const refusal = new BadInput('the guest has no IOMMU: run it with --iommu all')
    await expect(control(machine)(method, {})).rejects.toThrow(refusal)
  })
})

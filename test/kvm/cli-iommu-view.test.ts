import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { type CliRun, Place } from '../support/bulkhead.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { lineWith } from '../support/refusal.ts'
import { describeUnless } from '../support/skip.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-micro-'))
afterAll(() => rmSync(folder, { recursive: true }))
const KERNEL = join(folder, 'spin')
writeFileSync(KERNEL, new Assembler().print('spinning\n').spin().image())
const DISK = join(folder, 'disk')
writeFileSync(DISK, new Uint8Array(4096))

let place: Place
let run: CliRun
beforeEach(async () => {
  place = new Place({ ownCache: true })
  run = place.start(['run', '--host', 'kvm', '-k', KERNEL, '-m', '16', '--name', 'guest', '-d', DISK, '--iommu', 'all'])
  await run.saw('spinning\n')
})
afterEach(async () => {
  run.child.kill('SIGTERM')
  await run.result
  place[Symbol.dispose]()
})

const ask = (...args: string[]) => place.bulkhead(['iommu', ...args])
const told = async (...args: string[]) => {
  const { status, stdout, stderr } = await ask(...args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}

describeUnless(missingKvm(), 'bulkhead iommu, of an instance that runs', () => {
  it('shows endpoints, counters and mappings, for people and for programs', async () => {
    expect(await told('list', 'guest')).toMatch(/^disk0 +0x8 +- +unchanged +0 +0xfee00000-0xfeefffff \(MSI\)$/m)
    expect(await told('stat', 'guest')).toMatch(/^maps +0$/m)
    expect(await told('dump', 'guest')).toBe('no domains\n')
    expect(JSON.parse(await told('list', 'guest', '--json'))).toMatchObject({ endpoints: [{ name: 'disk0' }] })
    expect(JSON.parse(await told('stat', 'guest', '--json'))).toMatchObject({ counters: { maps: 0 } })
    expect(JSON.parse(await told('dump', 'guest', '--json'))).toEqual([])
  })

  it('makes a fault, which is counted and traced; the trace ends with the guest', async () => {
    const trace = place.start(['iommu', 'trace', 'guest'])
    await trace.saw('start ')
    await told('fault', 'guest', '--endpoint', 'disk0', '--address', '0x5000', '--access', 'write')
    await told('fault', 'guest', '--endpoint', '0x8', '--address', '4096', '--reason', 'domain')
    await trace.saw('drop ', 2)
    expect(JSON.parse(await told('stat', 'guest', '--json'))).toMatchObject({ counters: { faults: 2 } })
    run.child.kill('SIGTERM')
    const { status, stdout, stderr } = await trace.result
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const words = stdout.split('\n').map(line => line.replace(/^ +[0-9.]+ +/, ''))
    expect(words).toContain('FAULT    disk0: write at 0x5000 (mapping)')
    expect(words).toContain('FAULT    disk0: read at 0x1000 (domain)')
  })

  it('refuses what the guest does not have', async () => {
    expect((await ask('fault', 'guest', '--endpoint', 'net0', '--address', '1')).stderr).toEqual(
      lineWith('the IOMMU has no endpoint "net0": see bulkhead iommu list'),
    )
    expect(await ask('dump', 'guest', '--domain', '3')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: lineWith('the IOMMU of "guest" has no domain 3: see bulkhead iommu list guest'),
    })
  })
})

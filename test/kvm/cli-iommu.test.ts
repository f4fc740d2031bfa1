import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { DEVICE_OFFSET } from '../../src/virtio/pci-layout.ts'
import { Place } from '../support/bulkhead.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler, le32 } from '../support/micro-guest.ts'
import { lineWith } from '../support/refusal.ts'
import { describeUnless } from '../support/skip.ts'

/** Where firmware puts the only BAR of the machine: that of the IOMMU. */
const BAR = 0xc000_0000
/** `bypass` of struct virtio_iommu_config. */
const BYPASS = BAR + DEVICE_OFFSET + 36
const SYSTEM_CONTROL = 0x92

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-micro-'))
afterAll(() => rmSync(folder, { recursive: true }))
const image = (name: string, code: Assembler) => {
  const path = join(folder, name)
  writeFileSync(path, code.image())
  return path
}
/** Resets the machine, which is a good end. */
const QUIET = image('quiet', new Assembler().eax(1).out8(SYSTEM_CONTROL).spin())
const SPIN = image('spin', new Assembler().print('spinning\n').spin())
/** mov byte [BYPASS], 0: written before it was negotiated. */
const RUDE = image(
  'rude',
  new Assembler()
    .raw(0xc6, 0x05, ...le32(BYPASS), 0)
    .eax(1)
    .out8(SYSTEM_CONTROL)
    .spin(),
)
const RUDE_EXIT = image('rude-exit', new Assembler().raw(0xc6, 0x05, ...le32(BYPASS), 0).exit(4))

let place: Place
beforeEach(() => {
  place = new Place({ ownCache: true })
})
afterEach(() => place[Symbol.dispose]())

const run = (kernel: string, ...words: string[]) => place.bulkhead(['run', '--host', 'kvm', '-k', kernel, ...words])

describeUnless(missingKvm(), 'bulkhead run --iommu', () => {
  it('ends as ever when the guest kept to the rules', async () => {
    expect(await run(QUIET, '--iommu', 'none', '--iommu-check')).toMatchObject({ status: 0, stderr: '' })
  })

  it('ends with status 3 when it did not, and says which rule', async () => {
    const { status, stderr } = await run(RUDE, '--iommu', 'none', '--iommu-check')
    expect(stderr).toMatch(/^bulkhead: iommu: bypass-not-negotiated \(VIRTIO 1\.2 §5\.13\.4\.1\): .*$/m)
    expect(stderr).toMatch(/^bulkhead: the guest's driver of the IOMMU broke a rule of its specification$/m)
    expect(status).toBe(3)
  })

  it('says so too when the guest ends with a status of its own', async () => {
    const { status, stderr } = await run(RUDE_EXIT, '--iommu', 'none', '--iommu-check')
    expect(stderr).toContain('iommu: bypass-not-negotiated')
    expect(status).toBe(9)
  })

  it('says nothing of rules unless asked to', async () => {
    expect(await run(RUDE, '--iommu', 'none')).toMatchObject({ status: 0, stderr: '' })
  })

  it('writes the trace to its last event', async () => {
    const path = join(folder, 'trace.jsonl')
    await run(RUDE, '--iommu', 'none', '--iommu-trace', path)
    const events = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(events[0]).toMatchObject({ type: 'start', version: 1, endpoints: [] })
    expect(events.at(-1)).toMatchObject({ type: 'finding', name: 'bypass-not-negotiated' })
  })

  it('leaves a trace as it is when the name is taken', async () => {
    const path = join(folder, 'kept.jsonl')
    writeFileSync(path, 'before')
    const first = place.start(['run', '--host', 'kvm', '-k', SPIN, '--name', 'guest'])
    await first.saw('spinning\n')
    const { status, stderr } = await run(QUIET, '--iommu', 'none', '--iommu-trace', path, '--name', 'guest')
    first.child.kill('SIGTERM')
    await first.result
    expect([status, stderr]).toEqual([2, lineWith('an instance called "guest" runs already')])
    expect(readFileSync(path, 'utf8')).toBe('before')
  })

  it('names a rule once, however often the guest resets', async () => {
    const { status, stderr } = await run(RUDE, '--iommu', 'none', '--iommu-check', '--reboot', '--timeout', '1')
    expect(stderr.match(/bypass-not-negotiated/g)).toHaveLength(1)
    expect(status).toBe(124)
  })

  it.each([
    [['--iommu', 'disk0'], 'no device is called "disk0"'],
    [['--iommu', 'all,granule=2K'], "the IOMMU's granule is a power of two"],
    [['--iommu', 'balloon0', '--balloon'], 'balloon0 cannot be behind the IOMMU'],
    [
      ['--iommu', 'all', '--iommu-trace', '/nowhere/trace'],
      "cannot write the IOMMU's trace to /nowhere/trace (ENOENT)",
    ],
  ])('refuses %j with one line and status 2', async (words, message) => {
    const { status, stderr } = await run(QUIET, ...words)
    expect(stderr).toEqual(lineWith(message))
    expect(status).toBe(2)
  })
})

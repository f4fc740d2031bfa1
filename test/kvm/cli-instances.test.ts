import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import type { MachineStat } from '../../src/control/machine-control.ts'
import { CODE } from '../support/bare-guest.ts'
import { type CliRun, Place } from '../support/bulkhead.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { lineWith } from '../support/refusal.ts'
import { describeUnless } from '../support/skip.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-micro-'))
afterAll(() => rmSync(folder, { recursive: true }))
const KERNEL = join(folder, 'spin')
const MARK = 0x20_0000
const ECAM = 0xe000_0000
// Spins after it has left a mark in memory and told so.
const code = new Assembler().set(MARK, 0x4b4c_5542).print('spinning\n')
const SPIN = code.here
writeFileSync(KERNEL, code.spin().image())

let place: Place
let run: CliRun
beforeEach(async () => {
  place = new Place({ ownCache: true })
  run = place.start(['run', '--host', 'kvm', '-k', KERNEL, '-m', '16', '--name', 'guest'])
  await run.saw('spinning\n')
})
afterEach(async () => {
  run.child.kill('SIGTERM')
  await run.result
  place[Symbol.dispose]()
})

const ask = (...args: string[]) => place.bulkhead(args)
const told = async (...args: string[]) => {
  const { status, stdout, stderr } = await ask(...args)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout
}
const statOf = async (name: string) => (JSON.parse(await told('stat', name, '--json')) as MachineStat[])[0]!

describeUnless(missingKvm(), 'an instance that runs', () => {
  it('is in the list with what it is made of', async () => {
    const [head, row, ...more] = (await told('list')).trimEnd().split('\n')
    expect(head).toMatch(/^NAME +PID +STATE +HOST +CPUS +MEM +UPTIME +KERNEL$/)
    expect(row).toMatch(new RegExp(`^guest +${run.child.pid} +running +kvm +1 +16M +[0-9.]+s +${KERNEL}$`))
    expect(more).toEqual([])
  })

  it('is in the list for programs', async () => {
    const facts = { name: 'guest', pid: run.child.pid, state: 'running', host: 'kvm', cpus: 1, memoryMiB: 16 }
    expect(JSON.parse(await told('list', '--json'))).toMatchObject([facts])
  })

  it('tells what it has done', async () => {
    expect(await told('stat', 'guest')).toMatch(
      /^guest: running for [0-9.]+s, 1 vCPU, 16 MiB, [0-9]+ MiB resident, pid/,
    )
    const { exits, kernel } = await statOf('guest')
    expect(kernel).toBe(KERNEL)
    // Each byte of the greeting took a look at the line status and a write.
    expect(exits[0]!['posted']).toBe('spinning\n'.length)
  })

  it('can be paused and resumed, each twice', async () => {
    await told('pause', 'guest')
    await told('pause', '-n', 'guest')
    expect((await statOf('guest')).state).toBe('paused')
    expect(await told('list')).toMatch(/ paused /)
    await told('resume', 'guest')
    expect((await statOf('guest')).state).toBe('running')
    await told('resume', '-a')
    expect((await statOf('guest')).state).toBe('running')
  })

  it('shows its registers, as text and for programs', async () => {
    expect(await told('debug', 'guest')).toContain(`rip    ${SPIN.toString(16).padStart(16, '0')}`)
    const { registers } = JSON.parse(await told('debug', 'guest', '--json')) as { registers: Record<string, string> }
    expect(registers['rip']).toBe(`0x${SPIN.toString(16)}`)
  })

  it('shows its registers while it is paused, and stays paused', async () => {
    await told('pause', 'guest')
    expect(await told('debug', 'guest', '-r')).toContain('rip ')
    expect((await statOf('guest')).state).toBe('paused')
  })

  it.each([[], ['--virtual']])('dumps memory %j', async (...words) => {
    const mark = await told('debug', 'guest', '--memory', `0x${MARK.toString(16)},8`, ...words)
    expect(mark).toBe('0000000000200000  42 55 4c 4b 00 00 00 00                          BULK....\n')
    // jmp $ at the end of the code
    expect(await told('debug', 'guest', '-d', `${SPIN},2`, ...words)).toContain('  eb fe ')
    expect((await told('debug', 'guest', '-d', `${CODE}`, ...words)).split('\n')).toHaveLength(5)
  })

  it('reads and writes registers of devices', async () => {
    // The interrupt line of the host bridge is for software to use.
    const line = `0x${(ECAM + 0x3c).toString(16)}`
    expect(await told('debug', 'guest', '--mmio', `${line},1=0x5a`)).toBe('')
    expect(await told('debug', 'guest', '--mmio', `${line},1`)).toBe('0x5a\n')
    expect(JSON.parse(await told('debug', 'guest', '--mmio', line, '--json'))).toEqual({
      mmio: { address: line, value: '0x5a' },
    })
  })

  it.each([
    [['debug', 'guest', '--mmio', '0x1000'], 'no device has 4 bytes of registers at 0x1000'],
    [['debug', 'guest', '--vcpu', '1'], 'the guest has vCPUs 0 to 0'],
    [['debug', 'guest', '--memory', '0x1000000,1'], 'are not all guest memory'],
    [['debug', 'guest', '--memory', '0xffffffffffffffff,1'], 'are not all guest memory'],
  ])('answers %j with the reason why not', async (args, phrase) => {
    const { status, stdout, stderr } = await ask(...args)
    expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: '', stderr: lineWith(phrase) })
    expect((await statOf('guest')).state).toBe('running')
  })

  it('keeps its name: a second one is refused and the first goes on', async () => {
    const second = await ask('run', '--host', 'kvm', '-k', KERNEL, '--name', 'guest')
    expect(second).toMatchObject({ status: 2, stdout: '', stderr: lineWith('called "guest" runs already') })
    expect((await statOf('guest')).pid).toBe(run.child.pid)
  })

  it.each([[['guest']], [['-n', 'guest']], [['-a']], [['guest', 'guest']]])('is ended by stop %j', async words => {
    await told('stop', ...words)
    expect(await run.result).toMatchObject({ status: 0, stdout: 'spinning\n', stderr: 'bulkhead: stopped\n' })
    expect(place.leftovers()).toEqual([])
  })

  it('is ended by stop while it is paused', async () => {
    await told('pause', 'guest')
    await told('stop', 'guest')
    expect(await run.result).toMatchObject({ status: 0, stderr: 'bulkhead: stopped\n' })
  })

  it('is ended when the power button does nothing in the time given', async () => {
    await told('stop', 'guest', '--powerdown', '--timeout', '0.3')
    expect(await run.result).toMatchObject({ status: 0, stderr: 'bulkhead: stopped\n' })
  })

  it('leaves a socket behind when it is killed, which the next list removes', async () => {
    run.child.kill('SIGKILL')
    expect((await run.result).status).toBe(137)
    expect(place.files()).toEqual(['run/bulkhead/guest.sock'])
    expect(await told('list')).toBe('')
    expect(place.leftovers()).toEqual([])
  })

  it('gives its name to the next one when it is killed', async () => {
    run.child.kill('SIGKILL')
    await run.result
    run = place.start(['run', '--host', 'kvm', '-k', KERNEL, '--name', 'guest'])
    await run.saw('spinning\n')
    expect((await statOf('guest')).pid).toBe(run.child.pid)
  })
})

describeUnless(missingKvm(), 'two instances', () => {
  it('are listed by name and paused one by one or together', async () => {
    const other = place.start(['run', '--host', 'kvm', '-k', KERNEL, '--name', 'another'])
    await other.saw('spinning\n')
    await told('pause', 'guest')
    const states = async () =>
      (JSON.parse(await told('list', '--json')) as MachineStat[]).map(({ name, state }) => [name, state])
    expect(await states()).toEqual([
      ['another', 'running'],
      ['guest', 'paused'],
    ])
    await told('pause', '--all')
    expect((await states()).map(([, state]) => state)).toEqual(['paused', 'paused'])
    await told('stop', '-a')
    expect([(await run.result).status, (await other.result).status]).toEqual([0, 0])
    expect(place.leftovers()).toEqual([])
  })
})

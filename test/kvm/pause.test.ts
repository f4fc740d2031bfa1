import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Machine } from '../../src/machine/machine.ts'
import { SCRATCH } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine, until, wordOf } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

/** Counts at SCRATCH for ever, without an exit. */
function counter(): Assembler {
  const code = new Assembler()
  const start = code.here
  return code.increment(SCRATCH).jump(start)
}

/** Reads a port that the device thread answers, for ever, and counts at SCRATCH. */
function asker(): Assembler {
  const code = new Assembler()
  const start = code.here
  return code.in8(0x71).increment(SCRATCH).jump(start)
}

const count = (machine: Machine) => wordOf(machine, SCRATCH)

/** Whether the guest counts on within a while. */
async function runs(machine: Machine): Promise<boolean> {
  const before = count(machine)
  await sleep(40)
  return count(machine) !== before
}

const GUESTS = [
  ['counts in its own memory', counter],
  ['leaves all the time', asker],
] as const

describeUnless(missingKvm(), 'pause', () => {
  it.each(GUESTS)('stops a guest that %s, and resume lets it go on', async (_, code) => {
    await using machine = microMachine(code())
    await machine.start()
    await until(() => count(machine) > 0)
    await machine.pause()
    expect([machine.isPaused, await runs(machine)]).toEqual([true, false])
    machine.resume()
    expect(machine.isPaused).toBe(false)
    const before = count(machine)
    await until(() => count(machine) !== before)
  })

  it('nests: the guest goes on after as many resumes', async () => {
    await using machine = microMachine(counter())
    await machine.start()
    await Promise.all([machine.pause(), machine.pause()])
    await machine.pause()
    machine.resume()
    machine.resume()
    expect([machine.isPaused, await runs(machine)]).toEqual([true, false])
    machine.resume()
    expect(await runs(machine)).toBe(true)
  })

  it('holds a guest from its first instruction when it comes before the start', async () => {
    await using machine = microMachine(counter())
    await machine.pause()
    await machine.start()
    await sleep(40)
    expect(count(machine)).toBe(0)
    machine.resume()
    await until(() => count(machine) > 0)
  })

  it.each(GUESTS)('holds a guest that %s even right after a resume, hundreds of times', async (_, code) => {
    await using machine = microMachine(code())
    await machine.start()
    let moved = 0
    for (let turn = 0; turn < 300; turn++) {
      await machine.pause()
      const held = count(machine)
      // Long enough for a vCPU thread that was let go to be seen.
      await sleep(1)
      moved += Number(count(machine) !== held)
      machine.resume()
      // A different moment each turn, around the one at which the vCPU thread wakes.
      for (const end = performance.now() + (turn % 30) / 200; performance.now() < end; );
    }
    expect(moved).toBe(0)
    expect(await runs(machine)).toBe(true)
  })

  it('holds a guest that halts with interrupts off', async () => {
    // hlt; jmp to it
    await using machine = microMachine(new Assembler().set(SCRATCH, 1).raw(0xf4, 0xeb, 0xfd))
    await machine.start()
    await until(() => count(machine) === 1)
    await machine.pause()
    expect(machine.isPaused).toBe(true)
    machine.resume()
  })

  it('is over when the machine is stopped meanwhile', async () => {
    await using machine = microMachine(counter(), { cpus: 4 })
    await machine.start()
    const pause = machine.pause()
    machine.stop()
    await pause
    expect(await machine.finished).toEqual({ type: 'stopped' })
    await machine.pause()
  })

  it('does not undo a stop that came before it', async () => {
    await using machine = microMachine(counter(), { cpus: 4 })
    await machine.start()
    machine.stop()
    await machine.pause()
    machine.resume()
    expect(await machine.finished).toEqual({ type: 'stopped' })
  })
})

describeUnless(missingKvm(), 'withVcpu', () => {
  it('shows the registers of a running vCPU, to several at once', async () => {
    await using machine = microMachine(new Assembler().eax(0x7777).spin())
    await machine.start()
    await sleep(20)
    const read = () => machine.withVcpu(0, vcpu => vcpu.getRegs().view.getUint32(0, true))
    expect(await Promise.all([read(), read(), read(), read()])).toEqual([0x7777, 0x7777, 0x7777, 0x7777])
    expect(machine.isPaused).toBe(false)
  })

  it('refuses a machine that has ended', async () => {
    await using machine = microMachine(new Assembler().exit(0))
    await machine.start()
    await machine.finished
    await expect(machine.withVcpu(0, vcpu => vcpu.getRegs())).rejects.toThrow('the guest does not run')
  })
})

describeUnless(missingKvm(), 'stop', () => {
  it.each([
    ['spins', new Assembler().spin()],
    ['halts for ever', new Assembler().raw(0xf4, 0xeb, 0xfd)],
    ['leaves all the time', asker()],
  ])('ends a guest that %s', async (_, code) => {
    await using machine = microMachine(code)
    await machine.start()
    await sleep(20)
    machine.stop()
    expect(await machine.finished).toEqual({ type: 'stopped' })
  })

  it('ends a guest that is paused', async () => {
    await using machine = microMachine(counter())
    await machine.start()
    await machine.pause()
    machine.stop()
    expect(await machine.finished).toEqual({ type: 'stopped' })
  })

  it('ends a machine that is being started, and one that is not started yet', async () => {
    await using starting = microMachine(counter(), { cpus: 2 })
    const started = starting.start()
    starting.stop()
    await started
    expect(await starting.finished).toEqual({ type: 'stopped' })
    await using fresh = microMachine(counter())
    fresh.stop()
    await fresh.start()
    expect(await fresh.finished).toEqual({ type: 'stopped' })
  })
})

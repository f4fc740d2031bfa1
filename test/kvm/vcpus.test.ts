import { expect, it } from 'vitest'
import { BadInput } from '../../src/base/errors.ts'
import { SCRATCH } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine, runMicro, wordOf } from '../support/micro-machine.ts'
import { descriptors, threads } from '../support/process-usage.ts'
import { describeUnless } from '../support/skip.ts'

const ICR_LOW = 0xfee0_0300
const ICR_HIGH = 0xfee0_0310
const INIT = 0x4500
/** Start-up with the vector of the page at TRAMPOLINE. */
const SIPI = 0x4608
const TRAMPOLINE = 0x8000
const COUNTER = 0x7000
const ARRIVED = 0x7004
const TURNS = 20_000
/** Threads that the runtime starts when it likes; a leak of the machine's would be of 50 and more. */
const RUNTIME_THREADS = 10

/** Real-mode code at TRAMPOLINE: counts TURNS times with a lock, says that it is done, and halts. */
const TRAMPOLINE_CODE = [
  [0x31, 0xc0, 0x8e, 0xd8], // xor ax, ax; mov ds, ax
  [0xb9, TURNS & 0xff, TURNS >> 8], // mov cx, TURNS
  [0x66, 0xf0, 0xff, 0x06, 0x00, 0x70], // lock inc dword [COUNTER]
  [0x49, 0x75, 0xf7], // dec cx; jnz to the inc
  [0x66, 0xf0, 0xff, 0x06, 0x04, 0x70], // lock inc dword [ARRIVED]
  [0xf4, 0xeb, 0xfd], // hlt; jmp to it
].flat()

/** Starts the other vCPUs, counts as they do, waits for all of them, and ends. */
function starter(cpus: number): Assembler {
  const code = new Assembler()
  const padded = [...TRAMPOLINE_CODE, 0, 0, 0]
  for (let at = 0; at + 4 <= padded.length; at += 4)
    code.set(TRAMPOLINE + at, new DataView(new Uint8Array(padded.slice(at, at + 4)).buffer).getUint32(0, true))
  for (let id = 1; id < cpus; id++)
    code
      .set(ICR_HIGH, id * 2 ** 24)
      .set(ICR_LOW, INIT)
      .set(ICR_HIGH, id * 2 ** 24)
      .set(ICR_LOW, SIPI)
  code.ecx(TURNS)
  const count = code.here
  code.increment(COUNTER).loop(count)
  const wait = code.here
  // cmp eax, cpus - 1; jne to the load
  code.load(ARRIVED).raw(0x83, 0xf8, cpus - 1, 0x0f, 0x85)
  return code.raw(...new Uint8Array(new Int32Array([wait - code.here - 4]).buffer)).exit(0)
}

describeUnless(missingKvm(), 'vCPUs', () => {
  it.each([2, 4])('all %d run at once and see the same memory', async cpus => {
    await using machine = microMachine(starter(cpus), { cpus })
    await machine.start()
    expect(await machine.finished).toEqual({ type: 'debugExit', status: 1 })
    expect(wordOf(machine, COUNTER)).toBe(cpus * TURNS)
    expect(wordOf(machine, ARRIVED)).toBe(cpus - 1)
  })

  it('start and stop, 16 of them, of which 15 were never started by the guest', async () => {
    await using machine = microMachine(new Assembler().spin(), { cpus: 16 })
    await machine.start()
    expect(machine.exits()).toHaveLength(16)
    await machine.pause()
    machine.resume()
    machine.stop()
    expect(await machine.finished).toEqual({ type: 'stopped' })
  })

  it('send what they print through one serial port', async () => {
    const { outcome, output } = await runMicro(starter(3).print('unreached'), { cpus: 3 })
    expect([outcome, output]).toEqual([{ type: 'debugExit', status: 1 }, ''])
  })
})

describeUnless(missingKvm(), 'a machine', () => {
  it('gives everything back, fifty times over', async () => {
    await runMicro(new Assembler().print('warm').exit(0))
    const before = { descriptors: descriptors(), threads: threads() }
    for (let turn = 0; turn < 50; turn++) await runMicro(new Assembler().print('x').exit(0), { cpus: 1 + (turn % 2) })
    expect(descriptors()).toEqual(before.descriptors)
    expect(threads()).toBeLessThan(before.threads + RUNTIME_THREADS)
  })

  it('gives everything back when it is closed without a start', async () => {
    const before = descriptors()
    await microMachine(new Assembler().exit(0)).close()
    expect(descriptors()).toEqual(before)
  })

  it('refuses a kernel that does not fit before it touches the host', () => {
    const before = descriptors()
    expect(() => microMachine(new Assembler().exit(0), { cpus: 17 })).toThrow(BadInput)
    expect(descriptors()).toEqual(before)
  })

  it('leaves guest memory to be looked at until it is closed', async () => {
    await using machine = microMachine(new Assembler().set(SCRATCH, 0x600d_c0de).exit(0))
    await machine.start()
    await machine.finished
    expect(wordOf(machine, SCRATCH)).toBe(0x600d_c0de)
  })
})

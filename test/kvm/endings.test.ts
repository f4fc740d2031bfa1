import { expect, it } from 'vitest'
import { CODE, DEVICE } from '../support/bare-guest.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler, LOAD_ADDRESS } from '../support/micro-guest.ts'
import { microMachine, runMicro } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const PM1_CNT = 0x604
const SLEEP_S5 = 0x2000 | (5 << 10)

describeUnless(missingKvm(), 'a guest', () => {
  it.each([
    [0, 1],
    [1, 3],
    [21, 43],
    [0x7f, 0xff],
    [0x80, 1],
  ])('ends with the debug exit of %d as status %d', async (value, status) => {
    const { outcome } = await runMicro(new Assembler().exit(value))
    expect(outcome).toEqual({ type: 'debugExit', status })
  })

  it.each([
    ['the keyboard controller', new Assembler().eax(0xfe).out8(0x64)],
    ['system control port A', new Assembler().eax(0x01).out8(0x92)],
  ])('resets through %s', async (_, code) => {
    const { outcome } = await runMicro(code.spin())
    expect(outcome).toEqual({ type: 'reset' })
  })

  it('powers off by a 16-bit write to PM1_CNT', async () => {
    const { outcome } = await runMicro(new Assembler().eax(SLEEP_S5).edx(PM1_CNT).raw(0x66, 0xef).spin())
    expect(outcome).toEqual({ type: 'powerOff' })
  })

  it('sees its power button in PM1_STS', async () => {
    const code = new Assembler()
    const wait = code.here
    // in al, PM1_STS + 1; test al, 1; jz wait
    code.in8(0x601).raw(0xa8, 0x01, 0x74, wait - code.here - 4)
    await using machine = microMachine(code.exit(5))
    await machine.start()
    machine.pressPowerButton()
    expect(await machine.finished).toEqual({ type: 'debugExit', status: 11 })
  })

  it('has handed over all of its output when it ends', async () => {
    const { output } = await runMicro(new Assembler().print('the last words').exit(0))
    expect(output).toBe('the last words')
  })
})

describeUnless(missingKvm(), 'a fault', () => {
  it('is told of a triple fault, with the registers of that moment', async () => {
    const { outcome } = await runMicro(new Assembler().eax(0x1234_5678).ebx(0x0bad_cafe).raw(0x0f, 0x0b))
    expect(outcome).toMatchObject({ type: 'fault', vcpu: 0, fault: { exit: { kind: 'shutdown' } } })
    const registers = 'registers' in outcome ? outcome.registers : ''
    expect(registers).toContain(`rip    ${(CODE + 10).toString(16).padStart(16, '0')}`)
    expect(registers).toContain('rax    0000000012345678')
    expect(registers).toContain('rbx    000000000badcafe')
    expect(registers).toContain('cs     selector 0010')
  })

  it('is told of an instruction that KVM cannot fetch or emulate', async () => {
    // jmp DEVICE: code in a place that is not memory.
    const { outcome } = await runMicro(new Assembler().jump(DEVICE))
    expect(outcome).toMatchObject({ type: 'fault', fault: { exit: { kind: 'internalError', suberror: 1 } } })
    expect('registers' in outcome ? outcome.registers : '').toContain('rip    00000000d0000000')
  })

  it('keeps the output from before it', async () => {
    const { outcome, output } = await runMicro(new Assembler().print('going').raw(0x0f, 0x0b))
    expect([outcome.type, output]).toEqual(['fault', 'going'])
  })
})

describeUnless(missingKvm(), 'unmapped addresses', () => {
  it.each([
    ['a port of 1 byte', (code: Assembler) => code.edx(0x510).raw(0xec), 0xff],
    ['a port of 2 bytes', (code: Assembler) => code.edx(0x510).raw(0x66, 0xed), 0xffff],
    ['a port of 4 bytes', (code: Assembler) => code.edx(0x510).raw(0xed), 0xffff_ffff],
    ['MMIO of 1 byte', (code: Assembler) => code.raw(0xa0, 0, 0, 0, 0xd0), 0xff],
    ['MMIO of 4 bytes', (code: Assembler) => code.load(DEVICE), 0xffff_ffff],
  ])('read as ones: %s', async (_, read, value) => {
    // cmp eax, value; jne to the trap
    const code = read(new Assembler().eax(0)).raw(0x3d, ...new Uint8Array(new Uint32Array([value]).buffer))
    const { outcome } = await runMicro(code.raw(0x75, 0x0d).exit(1).raw(0x0f, 0x0b))
    expect(outcome).toEqual({ type: 'debugExit', status: 3 })
  })

  it('read as ones element by element in a string instruction', async () => {
    const code = new Assembler()
      .edi(LOAD_ADDRESS + 0x8000)
      .ecx(8)
      .edx(0x510)
      .raw(0xfc, 0xf3, 0x6c)
    await using machine = microMachine(code.exit(0))
    await machine.start()
    await machine.finished
    expect(machine.memory().read(LOAD_ADDRESS + 0x8000, 9)).toEqual(new Uint8Array([...new Array(8).fill(255), 0]))
  })

  it('swallow writes', async () => {
    const code = new Assembler().eax(1).out8(0x510).out32(0x510).store(DEVICE).print('on').exit(2)
    expect(await runMicro(code)).toEqual({ outcome: { type: 'debugExit', status: 5 }, output: 'on' })
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { patternAt } from '../support/byte-pattern.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { microMachine } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const COM1 = 0x3f8
const READY = 0x01
const EMPTY = 0x20
/** The console ring, and what else lies between the guest and a reader that does not read. */
const RING = 2 ** 16
const SLACK = 2 ** 10

/** Sends `count` bytes, counting down; looks for room before every 16th, as a driver with a FIFO does. */
function sender(count: number): Assembler {
  const code = new Assembler().ecx(count)
  const start = code.here
  // test cl, 15; jnz over the wait
  code.raw(0xf6, 0xc1, 0x0f, 0x0f, 0x85)
  const wait = new Assembler().awaitLineStatus(EMPTY).code()
  code.raw(wait.length, 0, 0, 0).awaitLineStatus(EMPTY)
  // mov al, cl
  return code.raw(0x88, 0xc8).out8(COM1).loop(start).exit(0)
}

/** Sends back what it receives, `count` bytes of it. */
function echo(count: number): Assembler {
  const code = new Assembler().ecx(count)
  const start = code.here
  // mov bl, al to keep the byte; mov al, bl to send it
  return code
    .awaitLineStatus(READY)
    .in8(COM1)
    .raw(0x88, 0xc3)
    .awaitLineStatus(EMPTY)
    .raw(0x88, 0xd8)
    .out8(COM1)
    .loop(start)
    .exit(0)
}

describeUnless(missingKvm(), 'console output', () => {
  it('waits for a slow reader and loses nothing', async () => {
    const count = 200 * 1024
    await using machine = microMachine(sender(count))
    const posted = () => machine.exits()[0]!.posted
    const stalled = Promise.withResolvers<number>()
    let received = 0
    let wrong = 0
    machine.consoles[0]!.onOutput(async bytes => {
      const first = received === 0
      for (const byte of bytes) wrong += Number(byte !== ((count - received++) & 0xff))
      if (first) stalled.resolve(await steady(posted))
    })
    await machine.start()
    const before = await stalled.promise
    expect(before).toBeGreaterThan(RING / 2)
    expect(before).toBeLessThan(RING + SLACK)
    expect(await machine.finished).toEqual({ type: 'debugExit', status: 1 })
    expect([received, wrong]).toEqual([count, 0])
  })

  it('of four ports goes to four consoles', async () => {
    const code = new Assembler()
    for (const [index, port] of [0x3f8, 0x2f8, 0x3e8, 0x2e8].entries()) code.eax(0x61 + index).out8(port)
    await using machine = microMachine(code.exit(0))
    const seen = machine.consoles.map(() => '')
    for (const [index, console] of machine.consoles.entries())
      console.onOutput(bytes => {
        seen[index] += new TextDecoder().decode(bytes)
      })
    await machine.start()
    await machine.finished
    expect(seen).toEqual(['a', 'b', 'c', 'd'])
  })
})

describeUnless(missingKvm(), 'console input', () => {
  it('comes back byte for byte from a guest that echoes it', async () => {
    const input = new Uint8Array(10 * 1024).map((_, i) => patternAt(i))
    await using machine = microMachine(echo(input.length))
    const pieces: Uint8Array[] = []
    machine.consoles[0]!.onOutput(bytes => void pieces.push(bytes))
    await machine.start()
    await machine.consoles[0]!.write(input)
    expect(await machine.finished).toEqual({ type: 'debugExit', status: 1 })
    expect(Buffer.concat(pieces).equals(input)).toBe(true)
  })

  it('waits for a guest that reads late, and for one that is not started yet', async () => {
    await using machine = microMachine(echo(10))
    let output = ''
    machine.consoles[0]!.onOutput(bytes => {
      output += new TextDecoder().decode(bytes)
    })
    await machine.consoles[0]!.write(new TextEncoder().encode('early'))
    await machine.pause()
    await machine.start()
    await machine.consoles[0]!.write(new TextEncoder().encode('-late'))
    await sleep(50)
    expect(output).toBe('')
    machine.resume()
    await machine.finished
    expect(output).toBe('early-late')
  })
})

/** The value of `counter` once it has stopped growing. */
async function steady(counter: () => number): Promise<number> {
  for (let before = -1; before !== counter(); await sleep(300)) before = counter()
  return counter()
}

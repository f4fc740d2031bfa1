import { describe, expect, it, vi } from 'vitest'
import { ByteRing } from '../../../src/machine/byte-ring.ts'
import { Console } from '../../../src/machine/console.ts'

function setUp() {
  const output = ByteRing.create(16)
  const input = ByteRing.create(16)
  const bell = { input: vi.fn(), outputRoom: vi.fn() }
  return { output, input, bell, console: new Console(output, input, bell) }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const bytes = (characters: string) => new TextEncoder().encode(characters)
/** Lets everything happen that waits for nothing but its turn. */
const settle = () => new Promise(resolve => setTimeout(resolve, 0))

describe('Console', () => {
  it('hands over output that was there before the handler', async () => {
    const { output, console } = setUp()
    output.push(bytes('early'))
    const seen: string[] = []
    console.onOutput(piece => void seen.push(text(piece)))
    await settle()
    expect(seen).toEqual(['early'])
  })

  it('takes no more output while a handler is busy, and tells the device thread of room', async () => {
    const { output, bell, console } = setUp()
    const busy = Promise.withResolvers<void>()
    const seen: string[] = []
    console.onOutput(piece => {
      seen.push(text(piece))
      return busy.promise
    })
    await settle()
    output.push(bytes('first'))
    console.outputAvailable()
    output.push(bytes('0123456789abcdef'))
    output.block()
    await settle()
    expect(seen).toEqual(['first'])
    expect(bell.outputRoom).not.toHaveBeenCalled()
    busy.resolve()
    await settle()
    expect(seen).toEqual(['first', '0123456789abcdef'])
    expect(bell.outputRoom).toHaveBeenCalledOnce()
  })

  it('has to be woken again after it has handed over everything', async () => {
    const { output, console } = setUp()
    const seen: string[] = []
    console.onOutput(piece => void seen.push(text(piece)))
    await settle()
    output.push(bytes('a'))
    expect(output.mustWakeConsumer()).toBe(true)
    console.outputAvailable()
    await settle()
    output.push(bytes('b'))
    expect(output.mustWakeConsumer()).toBe(true)
    await console.flush()
    expect(seen.join('')).toBe('ab')
  })

  it('writes long input as the ring gives room, in order and one write after the other', async () => {
    const { input, console } = setUp()
    const written = Promise.all([console.write(bytes('0123456789'.repeat(5))), console.write(bytes('end'))])
    let received = ''
    for (let turn = 0; turn < 20; turn++) {
      received += text(input.take(7))
      console.inputRoom()
      await settle()
    }
    await written
    expect(received).toBe(`${'0123456789'.repeat(5)}end`)
  })

  it('rings for a last byte that found room only at the second look', async () => {
    const { input, bell, console } = setUp()
    input.push(new Uint8Array(16))
    const block = input.block.bind(input)
    // The device thread empties the ring between the failed push and the request to be told of room.
    vi.spyOn(input, 'block').mockImplementation(() => {
      input.take()
      block()
    })
    await console.write(bytes('x'))
    expect(text(input.take())).toBe('x')
    expect(bell.input).toHaveBeenCalledOnce()
  })
})

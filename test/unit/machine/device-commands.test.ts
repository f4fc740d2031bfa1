import { describe, expect, it } from 'vitest'
import { ByteRing } from '../../../src/machine/byte-ring.ts'
import { CommandSender, type DeviceCommand, takeCommands } from '../../../src/machine/device-commands.ts'

const command = (id: number): DeviceCommand => ({ id, method: 'portOpen', params: { port: id, isOpen: false } })
const ids = (commands: readonly DeviceCommand[]) => commands.map(({ id }) => id)

/** Both ends of a ring with room for two requests. */
function bench() {
  const { shared } = ByteRing.create(128)
  return { sender: new CommandSender(new ByteRing(shared)), taken: new ByteRing(shared) }
}

describe('CommandSender', () => {
  it('sends requests as they are', () => {
    const { sender, taken } = bench()
    expect(sender.send(command(1))).toBe(true)
    expect(takeCommands(taken)).toEqual([command(1)])
  })

  it('keeps what does not fit until there is room, in order', () => {
    const { sender, taken } = bench()
    expect([1, 2, 3, 4, 5].map(id => sender.send(command(id)))).toEqual([true, true, true, true, true])
    expect([ids(takeCommands(taken)), sender.flush()]).toEqual([[1, 2], true])
    expect([ids(takeCommands(taken)), sender.flush()]).toEqual([[3, 4], true])
    expect([ids(takeCommands(taken)), sender.flush()]).toEqual([[5], false])
  })

  it('refuses more than it may keep', () => {
    const { sender } = bench()
    const answers = Array.from({ length: 5000 }, (_, id) => sender.send(command(id)))
    expect(answers.filter(answer => !answer)).toHaveLength(5000 - 4096 - 2)
  })
})

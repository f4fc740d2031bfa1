import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../../src/base/errors.ts'
import { ByteRing } from '../../../../src/machine/byte-ring.ts'
import { Console } from '../../../../src/machine/console.ts'
import { type ConsolePortConfig, planConsole } from '../../../../src/machine/device/console.ts'
import { createConsole } from '../../../../src/machine/device/console-device.ts'
import type { DeviceEnvironment } from '../../../../src/machine/device/environment.ts'
import { DeferredTasks } from '../../../support/deferred-tasks.ts'
import { deviceHarness } from '../../../support/device-harness.ts'
import { repeat } from '../../../support/repeat.ts'

const counting = (length: number) => new Uint8Array(length).map((_, i) => i * 7 + (i >> 8))
/** Lets everything happen that waits for nothing but its turn. */
const settle = () => new Promise(resolve => setTimeout(resolve, 0))

/** A lone console between a driver and the main thread's `Console`. */
function setUp() {
  const plan = planConsole({ kind: 'console', ports: [{ columns: 80, rows: 25 }] })
  const port = plan.ports[0]!
  const tasks = new DeferredTasks()
  const log: string[] = []
  const notices = {
    output: (index: number) => {
      log.push(`output ${index}`)
      main.outputAvailable()
    },
    inputRoom: (index: number) => {
      log.push(`inputRoom ${index}`)
      main.inputRoom()
    },
    guestOpened: (index: number, isOpen: boolean) => void log.push(`guestOpened ${index} ${isOpen}`),
  }
  const device = createConsole(plan, { loop: tasks, notices } as unknown as DeviceEnvironment)
  const bell = { input: () => device.inputAvailable(0), outputRoom: () => device.outputRoom(0) }
  const main: Console = new Console(new ByteRing(port.output), new ByteRing(port.input), bell)
  return { device, log, tasks, main, harness: deviceHarness(device, {}) }
}

describe('planConsole', () => {
  it('makes one console without a name unless told otherwise', () => {
    expect(planConsole({ kind: 'console' }).ports).toMatchObject([{ name: '', isConsole: true, columns: 0, rows: 0 }])
  })

  it('makes port 0 a console, and the others what they are', () => {
    const ports = [{ name: 'tty' }, { name: 'log' }, { name: 'tty2', isConsole: true }]
    expect(planConsole({ kind: 'console', ports }).ports.map(port => port.isConsole)).toEqual([true, false, true])
  })

  it.each<[string, ConsolePortConfig[]]>([
    ['no port', []],
    ['too many ports', new Array<ConsolePortConfig>(17).fill({})],
    ['a name with a slash', [{}, { name: 'a/b' }]],
    ['an empty name', [{}, { name: '' }]],
    ['a name that is too long', [{}, { name: 'x'.repeat(65) }]],
    ['a name twice', [{}, { name: 'a' }, { name: 'a' }]],
  ])('refuses %s', (_, ports) => {
    expect(() => planConsole({ kind: 'console', ports })).toThrow(BadInput)
  })
})

describe('createConsole', () => {
  it('makes a device with the size of the plan', () => {
    const { device } = setUp()
    expect([...device.config.subarray(0, 4)]).toEqual([80, 0, 25, 0])
  })

  it('carries a megabyte of output to a slow main thread, whole and in order', async () => {
    const { main, harness } = setUp()
    const all = counting(2 ** 20)
    const got: Uint8Array[] = []
    main.onOutput(async bytes => {
      await settle()
      got.push(bytes)
    })
    // In life the device thread's messages come one at a time, never from within the main thread's own work.
    await settle()
    repeat(16, i => harness.driver(1).add({ out: [all.subarray(i * 2 ** 16, (i + 1) * 2 ** 16)] }))
    harness.driver(1).kick()
    expect(harness.driver(1).pollAll().length).toBeLessThan(16)
    await expect.poll(() => got.reduce((sum, piece) => sum + piece.length, 0)).toBe(all.length)
    expect(Bun.hash(Buffer.concat(got))).toBe(Bun.hash(all))
    expect(harness.device.statistics?.['sentBytes']).toBe(all.length)
  })

  it('carries a megabyte of input to a slow guest, whole and in order', async () => {
    const { main, harness, log } = setUp()
    const all = counting(2 ** 20)
    const written = main.write(all)
    const got: Uint8Array[] = []
    for await (const _ of Array.from({ length: 256 }, settle)) {
      harness.send(0, { in: [1000, 3096] })
      got.push(
        ...harness
          .driver(0)
          .pollAll()
          .flatMap(used => used.in),
      )
    }
    await written
    expect(Bun.hash(Buffer.concat(got))).toBe(Bun.hash(all))
    expect(log).toContain('inputRoom 0')
  })
})

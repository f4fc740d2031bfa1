import { describe, expect, it } from 'vitest'
import { VirtioConsole } from '../../../src/virtio/console.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { DeferredTasks } from '../../support/deferred-tasks.ts'
import { deviceHarness } from '../../support/device-harness.ts'
import { FakeConsolePort } from '../../support/fake-console-port.ts'
import { repeat } from '../../support/repeat.ts'

const VIRTIO_CONSOLE_F_SIZE = 1n
const VIRTIO_CONSOLE_F_MULTIPORT = 2n

const DEVICE_READY = 0
const PORT_ADD = 1
const PORT_READY = 3
const CONSOLE_PORT = 4
const RESIZE = 5
const PORT_OPEN = 6
const PORT_NAME = 7

const RX0 = 0
const TX0 = 1
const CONTROL_RX = 2
const CONTROL_TX = 3
const RX1 = 4
const TX1 = 5

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const counting = (length: number) => new Uint8Array(length).map((_, i) => i * 7 + (i >> 8))

function control(id: number, event: number, value: number): Uint8Array {
  const message = new DataView(new ArrayBuffer(8))
  message.setUint32(0, id, true)
  message.setUint16(4, event, true)
  message.setUint16(6, value, true)
  return new Uint8Array(message.buffer)
}

/** A console and a stream called "log", driven with MULTIPORT; control buffers are there. */
function multiport(controlBuffers = 16) {
  const ports = [new FakeConsolePort('', true), new FakeConsolePort('log')] as const
  const tasks = new DeferredTasks()
  const device = new VirtioConsole({ name: 'console', ports, defer: tasks.defer })
  const harness = deviceHarness(device, {})
  repeat(controlBuffers, () => harness.send(CONTROL_RX, { in: [64] }))
  const tell = (id: number, event: number, value: number) =>
    harness.request(CONTROL_TX, { out: [control(id, event, value)] })
  const heard = () =>
    harness
      .driver(CONTROL_RX)
      .pollAll()
      .map(used => (used.in[0] as Uint8Array).slice(0, used.written))
  return { ports, tasks, device, harness, tell, heard }
}

/** The same with both ports set up and open, and nothing left to hear. */
function opened() {
  const setup = multiport(32)
  setup.tell(0, DEVICE_READY, 1)
  setup.tell(0, PORT_READY, 1)
  setup.tell(1, PORT_READY, 1)
  setup.tell(0, PORT_OPEN, 1)
  setup.tell(1, PORT_OPEN, 1)
  setup.heard()
  return setup
}

function single(features = 0n) {
  const port = new FakeConsolePort('', true)
  const tasks = new DeferredTasks()
  const device = new VirtioConsole({ name: 'console', ports: [port], defer: tasks.defer })
  return { port, tasks, device, harness: deviceHarness(device, { features: device.features | features }) }
}

describe('VirtioConsole with one console', () => {
  it('needs no control queues, and tells its size in the configuration space', () => {
    const { device, harness } = single()
    expect(device.queueSizes).toHaveLength(2)
    expect(device.features & VIRTIO_CONSOLE_F_MULTIPORT).toBe(0n)
    device.resize(0, 132, 43)
    expect([...device.config.subarray(0, 4)]).toEqual([132, 0, 43, 0])
    expect(harness.configChanges).toBe(1)
  })

  it.each([
    ['split', 0n],
    ['split with event indexes', VIRTIO_F_RING_EVENT_IDX],
    ['packed', VIRTIO_F_RING_PACKED],
    ['packed with event indexes', VIRTIO_F_RING_PACKED | VIRTIO_F_RING_EVENT_IDX],
  ])('carries bytes both ways over a %s queue', (_, features) => {
    const { port, device, harness } = single(features)
    expect(harness.request(TX0, { out: [bytes('hel'), bytes('lo')] }).written).toBe(0)
    expect(text(port.takeOutput())).toBe('hello')
    harness.send(RX0, { in: [3, 4] })
    harness.send(RX0, { in: [16] })
    port.type(bytes('good morning'))
    device.inputAvailable(0)
    const used = harness.driver(RX0).pollAll()
    expect(used.map(({ written }) => written)).toEqual([7, 5])
    expect(used.flatMap(u => u.in).map(text)).toEqual(['goo', 'd mo', expect.stringMatching(/^rning/)])
  })

  it('keeps input until there is a buffer', () => {
    const { port, device, harness } = single()
    port.type(bytes('early'))
    device.inputAvailable(0)
    expect(text(harness.request(RX0, { in: [5] }).in[0]!)).toBe('early')
  })

  it('holds output back while the host has no room, and sends each byte once', () => {
    const { port, device, harness } = single()
    port.room = 1000
    const sent = counting(2500)
    harness.send(TX0, { out: [sent.subarray(0, 700), sent.subarray(700, 2000)] })
    harness.send(TX0, { out: [sent.subarray(2000)] })
    expect(harness.driver(TX0).poll()).toBeUndefined()
    const first = port.takeOutput()
    port.room = 1100
    device.outputRoom(0)
    expect(harness.driver(TX0).pollAll()).toHaveLength(1)
    const second = port.takeOutput()
    port.room = 5000
    device.outputRoom(0)
    expect(harness.driver(TX0).pollAll()).toHaveLength(1)
    expect(Uint8Array.of(...first, ...second, ...port.takeOutput())).toEqual(sent)
  })

  it('starts with a fresh chain after a reset in the middle of one', () => {
    const { port, harness } = single()
    port.room = 3
    harness.send(TX0, { out: [bytes('lost and found')] })
    expect(harness.reset()).toBe(true)
    port.takeOutput()
    port.room = 100
    harness.activate()
    harness.request(TX0, { out: [bytes('again')] })
    expect(text(port.takeOutput())).toBe('again')
  })

  it('starts with a fresh chain after a reset of the queue in the middle of one', () => {
    const { port, harness } = single()
    port.room = 3
    harness.send(TX0, { out: [bytes('lost and found')] })
    expect(harness.resetQueue(TX0)).toBe(true)
    port.takeOutput()
    port.room = 100
    harness.enableQueue(TX0)
    harness.request(TX0, { out: [bytes('again')] })
    expect(text(port.takeOutput())).toBe('again')
  })

  it('gives other devices their turn in a long run of output', () => {
    const { port, tasks, harness } = single()
    repeat(100, () => harness.driver(TX0).add({ out: [bytes('x')] }))
    harness.driver(TX0).kick()
    expect(port.takeOutput()).toHaveLength(64)
    tasks.runAll()
    expect(port.takeOutput()).toHaveLength(36)
  })

  it('gives other devices their turn in a long run of input', () => {
    const { port, tasks, device, harness } = single()
    repeat(100, () => harness.driver(RX0).add({ in: [1] }))
    port.type(new Uint8Array(100))
    device.inputAvailable(0)
    expect(harness.driver(RX0).pollAll()).toHaveLength(64)
    tasks.runAll()
    expect(harness.driver(RX0).pollAll()).toHaveLength(36)
  })

  it('writes emergency output before a driver is there', () => {
    const port = new FakeConsolePort('', true)
    const device = new VirtioConsole({ name: 'console', ports: [port], defer: () => {} })
    device.writeConfig(8, 4, 0x1234_5641)
    device.writeConfig(0, 2, 0x42)
    expect(text(port.takeOutput())).toBe('A')
  })

  it('gives back a receive buffer without room, and the next one gets the input', () => {
    const { port, device, harness } = single()
    port.type(bytes('x'))
    harness.driver(RX0).add({ out: [bytes('wrong')] })
    harness.driver(RX0).add({ in: [1] })
    device.notify(RX0)
    expect(
      harness
        .driver(RX0)
        .pollAll()
        .map(({ written }) => written),
    ).toEqual([0, 1])
    expect(harness.logged).toHaveLength(1)
  })

  it('takes a transmit chain with nothing to read', () => {
    const { port, harness } = single()
    expect(harness.request(TX0, { in: [5] }).written).toBe(0)
    expect(port.takeOutput()).toHaveLength(0)
  })
})

describe('VirtioConsole with several ports', () => {
  it('says how many there are, each with two queues', () => {
    const { device } = multiport()
    expect(device.queueSizes).toHaveLength(6)
    expect(new DataView(device.config.buffer).getUint32(4, true)).toBe(2)
  })

  it('introduces its ports when the driver is ready', () => {
    const { device, tell, heard } = multiport()
    device.resize(0, 80, 25)
    tell(0, DEVICE_READY, 1)
    expect(heard()).toEqual([control(0, PORT_ADD, 1), control(1, PORT_ADD, 1)])
    tell(0, PORT_READY, 1)
    tell(1, PORT_READY, 1)
    expect(heard()).toEqual([
      control(0, CONSOLE_PORT, 1),
      Uint8Array.of(...control(0, RESIZE, 1), 80, 0, 25, 0),
      control(0, PORT_OPEN, 1),
      Uint8Array.of(...control(1, PORT_NAME, 1), ...bytes('log')),
      control(1, PORT_OPEN, 1),
    ])
  })

  it('sends what it owes when buffers come, each message once', () => {
    const { harness, tell, heard } = multiport(0)
    tell(0, DEVICE_READY, 1)
    tell(0, DEVICE_READY, 1)
    expect(heard()).toEqual([])
    harness.send(CONTROL_RX, { in: [64] })
    expect(heard()).toEqual([control(0, PORT_ADD, 1)])
    harness.send(CONTROL_RX, { in: [64] })
    harness.send(CONTROL_RX, { in: [64] })
    expect(heard()).toEqual([control(1, PORT_ADD, 1)])
  })

  it('tells the latest size of a console only', () => {
    const { harness, device, heard } = opened()
    harness.resetQueue(CONTROL_RX)
    device.resize(0, 80, 25)
    device.resize(0, 100, 30)
    device.resize(1, 10, 10)
    harness.enableQueue(CONTROL_RX)
    harness.send(CONTROL_RX, { in: [64] })
    harness.send(CONTROL_RX, { in: [64] })
    expect(heard()).toEqual([Uint8Array.of(...control(0, RESIZE, 1), 100, 0, 30, 0)])
  })

  it('tells no size to a driver without VIRTIO_CONSOLE_F_SIZE', () => {
    const ports = [new FakeConsolePort('', true), new FakeConsolePort('log')]
    const device = new VirtioConsole({ name: 'console', ports, defer: () => {} })
    const harness = deviceHarness(device, { features: device.features & ~VIRTIO_CONSOLE_F_SIZE })
    harness.request(CONTROL_TX, { out: [control(0, PORT_READY, 1)] })
    repeat(4, () => harness.send(CONTROL_RX, { in: [64] }))
    harness.driver(CONTROL_RX).pollAll()
    device.resize(0, 80, 25)
    expect(harness.driver(CONTROL_RX).poll()).toBeUndefined()
    expect(harness.configChanges).toBe(0)
  })

  it('carries the bytes of each port in its own queues', () => {
    const { ports, device, harness } = opened()
    harness.request(TX0, { out: [bytes('zero')] })
    harness.request(TX1, { out: [bytes('one')] })
    expect(ports.map(port => text(port.takeOutput()))).toEqual(['zero', 'one'])
    harness.send(RX0, { in: [4] })
    harness.send(RX1, { in: [4] })
    ports[1].type(bytes('tel1'))
    device.inputAvailable(1)
    expect(harness.driver(RX0).poll()).toBeUndefined()
    expect(text(harness.driver(RX1).poll()!.in[0]!)).toBe('tel1')
  })

  it('keeps input for a port until a program in the guest opens it', () => {
    const { ports, device, harness, tell } = opened()
    tell(1, PORT_OPEN, 0)
    harness.send(RX1, { in: [8] })
    ports[1].type(bytes('wait'))
    device.inputAvailable(1)
    expect(harness.driver(RX1).poll()).toBeUndefined()
    tell(1, PORT_OPEN, 1)
    expect(harness.driver(RX1).poll()!.written).toBe(4)
    expect(ports[1].opened).toEqual([true, false, true])
  })

  it('tells the end of its side after the last byte', () => {
    const { ports, device, harness, heard } = opened()
    ports[1].type(bytes('last'))
    device.inputAvailable(1)
    device.setOpen(1, false)
    expect(heard()).toEqual([])
    harness.send(RX1, { in: [8] })
    expect(harness.driver(RX1).poll()!.written).toBe(4)
    expect(heard()).toEqual([control(1, PORT_OPEN, 0)])
    device.setOpen(1, true)
    expect(heard()).toEqual([control(1, PORT_OPEN, 1)])
  })

  it('tells the host when a reset closes what the guest had open', () => {
    const { ports, harness } = opened()
    expect(harness.reset()).toBe(true)
    expect(ports.map(port => port.opened)).toEqual([
      [true, false],
      [true, false],
    ])
  })

  it('forgets what it owed at a reset', () => {
    const { harness, tell } = multiport(0)
    tell(0, DEVICE_READY, 1)
    harness.reset()
    harness.activate()
    harness.send(CONTROL_RX, { in: [64] })
    expect(harness.driver(CONTROL_RX).poll()).toBeUndefined()
  })

  it('serves port 0 of a driver without VIRTIO_CONSOLE_F_MULTIPORT, and no other', () => {
    const ports = [new FakeConsolePort('', true), new FakeConsolePort('log')] as const
    const device = new VirtioConsole({ name: 'console', ports, defer: () => {} })
    const harness = deviceHarness(device, { features: 0n })
    harness.request(TX0, { out: [bytes('plain')] })
    harness.send(TX1, { out: [bytes('stray')] })
    harness.send(CONTROL_TX, { out: [control(0, DEVICE_READY, 1)] })
    ports[0].type(bytes('in'))
    device.inputAvailable(0)
    expect(text(harness.request(RX0, { in: [2] }).in[0]!)).toBe('in')
    expect(ports.map(port => text(port.takeOutput()))).toEqual(['plain', ''])
    expect(harness.driver(CONTROL_TX).poll()).toBeUndefined()
  })

  it.each([
    ['an empty message', new Uint8Array(0)],
    ['a short message', control(0, DEVICE_READY, 1).subarray(0, 7)],
    ['a port that is not there', control(2, PORT_READY, 1)],
    ['port 0xffffffff', control(0xffff_ffff, PORT_OPEN, 1)],
    ['an event that only devices send', control(0, PORT_NAME, 1)],
    ['an event that does not exist', control(1, 0xffff, 1)],
    ['a driver that failed', control(0, DEVICE_READY, 0)],
    ['a port that failed', control(1, PORT_READY, 0)],
  ])('takes %s as nothing but a line in the log', (_, message) => {
    const { ports, harness, heard } = multiport()
    expect(harness.request(CONTROL_TX, { out: [message], in: [1] }).written).toBe(0)
    expect(harness.logged).toHaveLength(1)
    expect(heard()).toEqual([])
    expect(ports.flatMap(port => port.opened)).toEqual([])
    expect(harness.resetReasons).toEqual([])
  })

  it('cuts a message off where the buffer ends', () => {
    const { harness, tell } = multiport(0)
    harness.send(CONTROL_RX, { in: [5] })
    tell(0, DEVICE_READY, 1)
    const used = harness.driver(CONTROL_RX).poll()!
    expect(used.written).toBe(5)
    expect(used.in[0]).toEqual(control(0, PORT_ADD, 1).subarray(0, 5))
  })

  it('puts off the rest of a flood of control messages', () => {
    const { harness, tasks } = multiport()
    repeat(64, i => harness.driver(CONTROL_TX).add({ out: [control(1, PORT_OPEN, i & 1)] }))
    harness.driver(CONTROL_TX).kick()
    expect(tasks.count).toBe(1)
    tasks.runAll()
    expect(harness.driver(CONTROL_TX).pollAll()).toHaveLength(64)
  })

  it('puts it off once, however often the driver notifies', () => {
    const { harness, tasks } = multiport()
    repeat(3, () => {
      repeat(64, i => harness.driver(CONTROL_TX).add({ out: [control(1, PORT_OPEN, i & 1)] }))
      harness.driver(CONTROL_TX).kick()
      harness.driver(CONTROL_TX).pollAll()
    })
    expect(tasks.count).toBe(1)
  })
})

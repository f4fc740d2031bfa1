import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { Chain } from '../../../src/virtio/queue.ts'
import { FUZZ_SUBJECTS, type FuzzedDevice, type FuzzSubject } from '../../support/fuzz-subjects.ts'
import { Fuzzer } from '../../support/fuzzer.ts'
import { ProbeDevice } from '../../support/probe-device.ts'

const SEEDS = [1, 2, 3]
const ACTIONS = 800
const CASES = FUZZ_SUBJECTS.flatMap(subject => SEEDS.map(seed => ({ subject, seed, name: subject.name })))

/** A device that does `onNotify` when it is notified. */
function subject(onNotify: (device: ProbeDevice) => void, changes: Partial<FuzzedDevice> = {}): FuzzSubject {
  return {
    name: 'probe',
    create() {
      const device = new ProbeDevice({ transportFeatures: ~VIRTIO_F_RING_PACKED })
      device.notify = () => onNotify(device)
      return { device, sane() {}, ...changes }
    },
  }
}

function fuzz(device: FuzzSubject): () => void {
  return () => new Fuzzer(device, 1).run(ACTIONS)
}

describe('Fuzzer', () => {
  it.each(CASES)('finds nothing in $name with seed $seed', ({ subject, seed }) => {
    const fuzzer = new Fuzzer(subject, seed)
    fuzzer.run(ACTIONS)
    expect(fuzzer.counts['notifications']).toBeGreaterThan(50)
  })

  it('takes the same way with the same seed', () => {
    const first = new Fuzzer(FUZZ_SUBJECTS[0] as FuzzSubject, 7)
    const second = new Fuzzer(FUZZ_SUBJECTS[0] as FuzzSubject, 7)
    first.run(ACTIONS)
    second.run(ACTIONS)
    expect(first.counts).toEqual(second.counts)
  })

  it('finds a device that throws', () => {
    const device = subject(() => {
      throw new Error('a bug')
    })
    expect(fuzz(device)).toThrow(/^probe, seed 1, action \d+: Error: a bug$/)
  })

  it('finds a device that works without end', () => {
    const device = subject(probe => {
      while (probe.host?.queue(0)?.hasAvailable === true);
    })
    expect(fuzz(device)).toThrow('without end')
  })

  it('finds a device that looks at memory which it was not given', () => {
    const device = subject(({ host }) => host?.queue(0)?.space.memory.viewAt(2 ** 32 + 0x10_0000))
    expect(fuzz(device)).toThrow('which it was not given')
  })

  it('finds a device that writes where it may only read', () => {
    const device = subject(({ host }) => {
      const queue = host?.queue(0)
      if (queue === undefined) return
      const chain = new Chain(queue.space)
      if (queue.pop(chain)) chain.readable.fill(0, 0xbb, chain.readable.size)
    })
    expect(fuzz(device)).toThrow('which it may not')
  })

  it('finds a device that uses a buffer after its mapping was taken away', () => {
    const held: Chain[] = []
    const device = subject(({ host }) => {
      const queue = host?.queue(0)
      const [late] = held.splice(0)
      late?.writable.fill(0, 0xbb, late.writable.size)
      if (queue === undefined) return
      const chain = new Chain(queue.space)
      if (queue.pop(chain)) held.push(chain)
    })
    expect(fuzz(device)).toThrow(/which it (was not given|may not)/)
  })

  it('finds a device that holds a mapping up after its reset', () => {
    const device = subject(({ host }) => {
      const queue = host?.queue(0)
      if (queue === undefined) return
      const chain = new Chain(queue.space)
      chain.isPinned = queue.pop(chain)
    })
    expect(fuzz(device)).toThrow('the device uses memory after its reset')
  })

  it('finds a device whose reset does not end', () => {
    const device = subject(() => {})
    const create = () => ({ device: new ProbeDevice({ slow: true }), sane() {} })
    expect(fuzz({ ...device, create })).toThrow('the reset does not end')
  })

  it('finds a device that does not work after a reset', () => {
    const sane = () => {
      throw new Error('it does not work')
    }
    expect(fuzz(subject(() => {}, { sane }))).toThrow('it does not work')
  })
})

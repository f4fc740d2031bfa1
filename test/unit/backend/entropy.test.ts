import { afterEach, describe, expect, it } from 'vitest'
import { HostEntropy } from '../../../src/backend/entropy.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'
import { Rng } from '../../../src/virtio/rng.ts'
import { deviceHarness } from '../../support/device-harness.ts'
import { UNTOUCHED } from '../../support/virtio-driver.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const memory = new VirtioMemory({ real: true })
afterEach(() => memory[Symbol.dispose]())

describe('HostEntropy', () => {
  it('fills guest memory with random bytes, over windows, and no more than was asked for', () => {
    const device = new Rng({ name: 'rng', source: new HostEntropy(() => {}), defer() {} })
    const harness = deviceHarness(device, { memory })
    const used = harness.request(0, { in: [4096, 100_000], place: 'crossing' })
    const [first = new Uint8Array(0), second = new Uint8Array(0)] = used.in
    expect(used.written).toBe(65_536)
    // 4096 random bytes leave out some 0 of the 256 values, and more than 6 of them never.
    expect(new Set(first).size).toBeGreaterThan(250)
    expect(new Set(second.subarray(0, 65_536 - 4096)).size).toBe(256)
    expect(new Set(second.subarray(65_536 - 4096))).toEqual(new Set([UNTOUCHED]))
  })

  it('gives none where the host has none to give, and says so once', () => {
    const warnings: string[] = []
    // Nothing is mapped at the start of a process's memory.
    const broken = new Extents(new GuestMemory([{ start: 0, bytes: new Uint8Array(4096), hostAddress: 16 }]))
    broken.add(0, 64)
    const entropy = new HostEntropy(message => void warnings.push(message))
    expect([entropy.fill(broken, 64), entropy.fill(broken, 64)]).toEqual([0, 0])
    expect(warnings).toEqual(['the guest gets no entropy: getrandom failed: EFAULT (errno 14)'])
  })
})

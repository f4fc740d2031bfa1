import { describe, expect, it } from 'vitest'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import {
  answers,
  attachedCore,
  busyUser,
  DISK,
  FakeUser,
  finish,
  type IommuCore,
  iommuCore,
  NET,
  reach,
} from '../../support/iommu-core.ts'
import { keepTranslations } from '../../support/translation-keeper.ts'

const RIGHTS = MapFlag.read | MapFlag.write
const SEEDS = Array.from({ length: 20 }, (_, i) => i + 1)
const START = 0x5000
const END = 0x5fff

/** "disk" and "net" share domain 1, which maps two pages. */
function shared(): IommuCore {
  const core = attachedCore()
  core.iommu.attach(NET, 1, false, () => {})
  core.iommu.map(1, START, END, 0x3000, RIGHTS)
  core.iommu.map(1, END + 1, END + 0x1000, 0x4000, RIGHTS)
  return core
}

const REQUESTS: readonly (readonly [string, (core: IommuCore, done: () => void) => void])[] = [
  ['UNMAP', ({ iommu }, done) => iommu.unmap(1, START, END, done)],
  ['DETACH', ({ iommu }, done) => iommu.detach(DISK, 1, done)],
  ['ATTACH to another domain', ({ iommu }, done) => iommu.attach(DISK, 2, false, done)],
  ['ATTACH to a bypass domain', ({ iommu }, done) => iommu.attach(DISK, 2, true, done)],
  ['a reset', ({ iommu }, done) => iommu.reset(done)],
]

describe('Iommu, while a device uses a translation', () => {
  it.each(REQUESTS)('finishes %s when the host is through with the memory', (_, request) => {
    const core = shared()
    const user = busyUser(core.disk, START + 0x800, START + 0x8ff)
    const finished = answers(done => request(core, () => done(0)))
    expect([finished, core.iommu.state().counters.waits]).toEqual([[], 1])
    core.disk.space.released()
    expect(finished).toEqual([])
    finish(user, core.disk)
    expect(finished).toEqual(['ok'])
    finish(user, core.disk)
    expect(finished).toEqual(['ok'])
  })

  it.each(REQUESTS)('refuses new accesses from the start of %s', (_, request) => {
    const core = attachedCore()
    core.iommu.map(1, START, END, 2 ** 32, RIGHTS)
    const before = reach(core.disk, START, 8)
    busyUser(core.disk, START, END)
    request(core, () => {})
    expect(before).toEqual([[2 ** 32, 8]])
    expect(reach(core.disk, START, 8)).not.toEqual(before)
  })

  it('waits for each endpoint of a domain', () => {
    const core = shared()
    const [one, other] = [busyUser(core.disk, START, END), busyUser(core.net, START, END)]
    const finished = answers(done => core.iommu.unmap(1, START, END, done))
    finish(one, core.disk)
    expect(finished).toEqual([])
    finish(other, core.net)
    expect(finished).toEqual(['ok'])
  })

  it('does not wait for work in other mappings', () => {
    const core = shared()
    busyUser(core.disk, END + 1, END + 0x1000)
    expect(answers(done => core.iommu.unmap(1, START, END, done))).toEqual(['ok'])
  })

  it('finishes several requests, each when it may', () => {
    const core = shared()
    const [first, second] = [busyUser(core.disk, START, END), busyUser(core.disk, END + 1, END + 0x1000)]
    const order: string[] = []
    core.iommu.unmap(1, START, END, () => order.push('first'))
    core.iommu.unmap(1, END + 1, END + 0x1000, () => order.push('second'))
    core.iommu.reset(() => order.push('reset'))
    expect(order).toEqual([])
    finish(second, core.disk)
    expect(order).toEqual(['second'])
    finish(first, core.disk)
    expect(order).toEqual(['second', 'first', 'reset'])
  })

  it.each([
    ['a DETACH', ({ iommu }: IommuCore, done: () => void) => iommu.detach(DISK, 1, done)],
    ['an ATTACH elsewhere', ({ iommu }: IommuCore, done: () => void) => iommu.attach(DISK, 2, false, done)],
    ['an ATTACH to bypass', ({ iommu }: IommuCore, done: () => void) => iommu.attach(DISK, 2, true, done)],
  ])('does not finish a reset before %s that is under way', (_, request) => {
    const core = shared()
    core.iommu.bypass = true
    const user = busyUser(core.disk, START, END)
    const order: string[] = []
    request(core, () => order.push('request'))
    core.iommu.reset(() => order.push('reset'))
    core.disk.space.released()
    expect(order).toEqual([])
    finish(user, core.disk)
    expect(order).toEqual(['request', 'reset'])
  })

  it('waits in a reset for work of the time before the end of bypass', () => {
    const core = iommuCore({ bypass: true })
    const user = busyUser(core.disk, START, END)
    core.iommu.bypass = false
    const finished = answers(done => core.iommu.reset(() => done(0)))
    expect(finished).toEqual([])
    finish(user, core.disk)
    expect(finished).toEqual(['ok'])
  })

  it('may be asked for more by whoever it tells', () => {
    const core = shared()
    const user = busyUser(core.disk, START, END)
    const order: string[] = []
    core.iommu.unmap(1, START, END, () => {
      order.push('unmapped')
      core.iommu.detach(DISK, 1, () => order.push('detached'))
    })
    finish(user, core.disk)
    expect(order).toEqual(['unmapped', 'detached'])
  })

  it('waits for a user that wants to go as well', () => {
    const core = shared()
    const user = busyUser(core.disk, START, END)
    core.disk.space.removeUser(user)
    const finished = answers(done => core.iommu.unmap(1, START, END, done))
    expect(finished).toEqual([])
    finish(user, core.disk)
    expect(finished).toEqual(['ok'])
  })

  it('forgets a user that wanted to go when it is through', () => {
    const core = shared()
    const user = busyUser(core.disk, START, END)
    core.disk.space.removeUser(user)
    finish(user, core.disk)
    user.kept = [{ start: START, end: END }]
    user.busy = user.kept
    expect(answers(done => core.iommu.unmap(1, START, END, done))).toEqual(['ok'])
  })

  it('does not wait for a user that is gone', () => {
    const core = shared()
    const user = busyUser(core.disk, START, END)
    user.busy = []
    core.disk.space.removeUser(user)
    user.busy = user.kept
    expect(answers(done => core.iommu.unmap(1, START, END, done))).toEqual(['ok'])
  })

  it('says of an UNMAP of all addresses how far mappings can reach', () => {
    const core = shared()
    core.iommu.unmap(1, 0, 2 ** 64, () => {})
    expect(core.events).toMatchObject([
      { type: 'invalidation', start: '0x0', end: '0xffffffffffff', mappings: 2, endpoints: [] },
    ])
  })

  it('says how long it waited, for whom', () => {
    const core = shared()
    const user = busyUser(core.disk, START, END)
    core.iommu.unmap(1, START, END, () => {})
    expect(core.events.filter(({ type }) => type === 'invalidation')).toEqual([])
    finish(user, core.disk)
    expect(core.events.filter(({ type }) => type === 'invalidation')).toEqual([
      {
        type: 'invalidation',
        cause: 'UNMAP',
        domain: 1,
        start: '0x5000',
        end: '0x5fff',
        mappings: 1,
        endpoints: [DISK],
        waitedUs: expect.any(Number),
      },
    ])
  })
})

describe('EndpointSpace.version', () => {
  it.each(SEEDS)('changes before a kept translation is one that would not be given (seed %d)', seed => {
    const { stale, good } = keepTranslations(seed, 1000)
    expect(stale).toEqual([])
    expect(good).toBeGreaterThan(300)
  })

  /** How far the versions of disk and net go in `act`, for a device "disk" that keeps a translation of the first page. */
  function steps(core: IommuCore, act: (core: IommuCore) => void): readonly number[] {
    const user = new FakeUser()
    user.kept = [{ start: START + 8, end: START + 15 }]
    core.disk.space.addUser(user)
    const before = [core.disk.space.version, core.net.space.version]
    act(core)
    return [core.disk.space.version - (before[0] ?? 0), core.net.space.version - (before[1] ?? 0)]
  }

  it.each([
    ['an UNMAP of what it keeps', (core: IommuCore) => core.iommu.unmap(1, START, END, () => {}), 1],
    ['an UNMAP of something else', (core: IommuCore) => core.iommu.unmap(1, END + 1, END + 0x1000, () => {}), 0],
    ['an UNMAP of nothing', (core: IommuCore) => core.iommu.unmap(1, 0, START - 1, () => {}), 0],
    ['an UNMAP that is refused', (core: IommuCore) => core.iommu.unmap(1, START, END - 1, () => {}), 0],
    ['a MAP', (core: IommuCore) => core.iommu.map(1, 0, 0xfff, 0, RIGHTS), 0],
    ['a DETACH', (core: IommuCore) => core.iommu.detach(DISK, 1, () => {}), 1],
    ['a DETACH of another endpoint', (core: IommuCore) => core.iommu.detach(NET, 1, () => {}), 0],
    ['an ATTACH to another domain', (core: IommuCore) => core.iommu.attach(DISK, 2, false, () => {}), 1],
    ['an ATTACH to its domain', (core: IommuCore) => core.iommu.attach(DISK, 1, false, () => {}), 0],
    ['a reset', (core: IommuCore) => core.iommu.reset(() => {}), 1],
    [
      'bypass, which is not for it',
      (core: IommuCore) => {
        core.iommu.bypass = true
      },
      0,
    ],
  ] as const)('changes with %s only for who keeps a translation', (_, act, expected) => {
    expect(steps(shared(), act)).toEqual([expected, 0])
  })

  it.each([
    [
      'the end of bypass',
      (core: IommuCore) => {
        core.iommu.bypass = false
      },
      1,
    ],
    ['an ATTACH to a domain', (core: IommuCore) => core.iommu.attach(DISK, 1, false, () => {}), 1],
    [
      'an ATTACH to a bypass domain, where all stays as it is',
      (core: IommuCore) => core.iommu.attach(DISK, 1, true, () => {}),
      0,
    ],
  ] as const)('changes with %s for an endpoint in bypass mode', (_, act, expected) => {
    expect(steps(iommuCore({ bypass: true }), act)).toEqual([expected, 0])
  })

  it('stays when a bypass domain is left for bypass', () => {
    const core = iommuCore({ bypass: true })
    core.iommu.attach(DISK, 1, true, () => {})
    expect(steps(core, ({ iommu }) => iommu.detach(DISK, 1, () => {}))).toEqual([0, 0])
  })
})

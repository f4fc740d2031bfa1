import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Place } from '../../support/bulkhead.ts'
import { bzImage } from '../../support/kernel-images.ts'
import { Assembler } from '../../support/micro-guest.ts'
import { lineWith, NO_PROGRAMS, refusalWith, tryCommand } from '../../support/refusal.ts'
import { describeUnless } from '../../support/skip.ts'
import { AS_NOBODY, missingClosedKvm, missingNobody } from '../../support/unprivileged.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-hosts-'))
chmodSync(folder, 0o755)
afterAll(() => rmSync(folder, { recursive: true }))

const file = (name: string, bytes: Uint8Array, mode = 0o644) => {
  const path = join(folder, name)
  writeFileSync(path, bytes, { mode })
  return path
}
const MICRO_GUEST = file('micro-guest', new Assembler().exit(0).image())
const LINUX = file('linux', bzImage())
const SECRET = file('secret', bzImage(), 0o600)

/** In a place that is nobody's own. */
const asNobody = async (args: readonly string[]) => {
  using place = new Place({ ownCache: true })
  for (const path of ['', 'run', 'tmp', 'cache']) chownSync(join(place.root, path), 65534, 65534)
  const { status, stdout, stderr } = await place.bulkhead(args, { under: AS_NOBODY, env: NO_PROGRAMS })
  return { status, stdout, stderr, left: place.leftovers() }
}

describeUnless(missingClosedKvm(), 'bulkhead run by a user who may not open /dev/kvm', () => {
  it.each([
    ['a micro-guest', ['-k', MICRO_GUEST]],
    ['a Linux kernel', ['-k', LINUX]],
    ['a Linux kernel with a command', ['-k', LINUX, '--', 'true']],
    ['the default guest', []],
    ['a command in the default guest', ['--', 'true']],
  ])('refuses %s on KVM and says how to get the right', async (_, words) => {
    expect(await asNobody(['run', '--host', 'kvm', ...words])).toEqual(
      refusalWith('cannot open /dev/kvm (EACCES): add yourself to the group that owns it (usually kvm), or use --host'),
    )
  })
})

describeUnless(missingNobody(), 'bulkhead run by a user without rights', () => {
  it('refuses a kernel that the user may not read', async () => {
    expect(await asNobody(['run', '-k', SECRET])).toEqual(refusalWith('secret: cannot be read (EACCES)'))
  })
})

describe('bulkhead without apt', () => {
  it.each([[['run']], [['run', '--', 'true']], [['run', '-k', LINUX, '--', 'true']], [['setup']]])(
    'names --kernel and --initrd where %j would fetch the default guest',
    async args => {
      const { status, stdout, stderr } = await tryCommand(args)
      const advice = 'is not installed: pass --kernel and --initrd, which need no packages'
      expect({ status, stdout, stderr }).toEqual({ status: 125, stdout: '', stderr: lineWith(advice) })
    },
  )

  it.each([[['run', '-k', LINUX, '--host', 'rig']], [['rig', 'run', '--', 'true']]])(
    'names a host with KVM where %j would fetch the rig',
    async args => {
      const { status, stdout, stderr } = await tryCommand(args)
      const advice = 'use a host whose KVM runs Linux'
      expect({ status, stdout, stderr }).toEqual({ status: 125, stdout: '', stderr: lineWith(advice) })
    },
  )

  it('leaves nothing half made in the cache', async () => {
    const { left } = await tryCommand(['run', '--', 'true'])
    expect(left.filter(path => !path.startsWith('cache/apt'))).toEqual([])
  })
})

describe('BULKHEAD_CACHE', () => {
  it('is refused when it is no absolute path', async () => {
    const refused = await tryCommand(['run', '--', 'true'], { env: { BULKHEAD_CACHE: 'here' } })
    expect(refused).toEqual(refusalWith("BULKHEAD_CACHE is 'here': make it an absolute path"))
  })

  it('is refused when it cannot be made', async () => {
    const refused = await tryCommand(['run', '--', 'true'], { env: { BULKHEAD_CACHE: '/proc/cache' } })
    expect(refused).toEqual(refusalWith('The cache folder /proc/cache cannot be made: set BULKHEAD_CACHE'))
  })
})

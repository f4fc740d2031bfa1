import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { machineFindings, partFindings } from '../../../src/cli/doctor-machine.ts'
import { HostTree } from '../../support/host-tree.ts'

/** A finding by its name, as "state: text". */
function finding(tree: HostTree, name: string): string | undefined {
  const found = machineFindings(tree).find(candidate => candidate.name === name)
  return found === undefined ? undefined : `${found.state}: ${found.text}`
}

const CAP_NET_ADMIN = 'CapEff:\t0000000000001000\n'

describe('machineFindings', () => {
  it('finds nothing missing on a host that can do everything', () => {
    using tree = new HostTree()
    tree.file('dev/kvm', '')
    tree.file('dev/net/tun', '')
    tree.file('proc/cpuinfo', 'flags\t: fpu vmx\n')
    tree.file('proc/self/limits', 'Max open files            1024                 4096                 files     \n')
    tree.file('proc/self/status', CAP_NET_ADMIN)
    expect(machineFindings(tree).map(({ name, state, text }) => `${name}: ${state}, ${text}`)).toEqual([
      'KVM: ok, runs Linux guests',
      'open files: ok, 1024',
      'tap: ok, can be made',
    ])
  })

  it('says where Linux guests run without a KVM', () => {
    using tree = new HostTree()
    expect(finding(tree, 'KVM')).toMatch(
      /^missing: .*kvm cannot be used \(ENOENT\): switch virtualization on .*emulated host$/,
    )
  })

  it.skipIf(process.arch !== 'x64')('tells a KVM for small kernels from one for Linux', () => {
    using tree = new HostTree()
    tree.file('dev/kvm', '')
    tree.file('proc/cpuinfo', 'flags\t: fpu\n')
    expect(finding(tree, 'KVM')).toMatch(/^advice: .*small test kernels run here/)
  })

  it.each([
    ['256', 'advice: 256 are few for a guest with many devices: ulimit -n 1024'],
    ['unlimited', 'ok: unlimited'],
  ])('judges %s open files', (limit, found) => {
    using tree = new HostTree()
    tree.file(
      'proc/self/limits',
      `Max open files            ${limit}                  unlimited                 files\n`,
    )
    expect(finding(tree, 'open files')).toBe(found)
  })

  it('knows who may make a tap', () => {
    using tree = new HostTree()
    tree.file('dev/net/tun', '')
    tree.file('proc/self/status', 'CapEff:\t0000000000000000\n')
    expect(finding(tree, 'tap')).toMatch(/^advice: only those that root made for you/)
  })

  it('misses the driver of taps', () => {
    using tree = new HostTree()
    expect(finding(tree, 'tap')).toBe('missing: /dev/net/tun is not there: modprobe tun')
  })
})

describe('partFindings', () => {
  let cache = ''

  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), 'bulkhead-cache-'))
    vi.stubEnv('BULKHEAD_CACHE', join(cache, 'none'))
  })

  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(cache, { recursive: true })
  })

  const part = (name: string, programs: Readonly<Record<string, string>> = {}) => {
    const found = partFindings(program => programs[program] ?? null).find(candidate => candidate.name === name)
    return `${found?.state}: ${found?.text}`
  }

  it('finds what is not prepared, and prepares nothing', () => {
    expect(['default guest', 'emulated host (rig)', 'passt (--network)'].map(name => part(name))).toEqual([
      'advice: made on first use, or now by bulkhead setup',
      'advice: made on first use, or now by bulkhead setup --host rig',
      'advice: fetched on first use',
    ])
    expect(existsSync(join(cache, 'none'))).toBe(false)
  })

  it('finds the programs of the system', () => {
    expect(part('passt (--network)', { passt: '/usr/bin/passt' })).toBe('ok: /usr/bin/passt')
  })

  it('needs apt for packages', () => {
    expect(part('packages', { 'apt-get': '/usr/bin/apt-get', 'dpkg-deb': '/usr/bin/dpkg-deb' })).toMatch(/^ok: /)
    expect(part('packages')).toBe(
      'missing: apt-get and dpkg-deb not installed: pass --kernel and --initrd, which need no packages',
    )
  })
})

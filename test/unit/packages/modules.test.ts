import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readModuleInfo } from '../../../src/packages/modinfo.ts'
import { modulesAlias, modulesDep, pickModules } from '../../../src/packages/modules.ts'
import { moduleImage } from './module-image.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'modules-'))
  writeFileSync(join(folder, 'modules.builtin'), 'kernel/drivers/virtio/virtio-ring.ko\n')
})

afterEach(() => rmSync(folder, { recursive: true }))

function addModule(path: string, ...info: string[]) {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), moduleImage(info))
}

const read = (path: string) => new Uint8Array(readFileSync(path))
const pick = (...names: string[]) => pickModules(folder, names, read)

describe('pickModules', () => {
  it('puts each module after all it depends on, once', () => {
    addModule('kernel/net/virtio_net.ko.xz', 'depends=net_failover,failover')
    addModule('kernel/net/net_failover.ko.xz', 'depends=failover')
    addModule('kernel/net/failover.ko.xz', 'depends=')

    expect(pick('virtio_net', 'failover').map(module => module.name)).toEqual([
      'failover',
      'net_failover',
      'virtio_net',
    ])
  })

  it('takes a dash for an underscore in files, requests and dependencies', () => {
    addModule('kernel/pvpanic-mmio.ko.xz', 'depends=pv-panic')
    addModule('kernel/pv_panic.ko', 'depends=')

    expect(pick('pvpanic_mmio').map(module => module.path)).toEqual(['kernel/pv_panic.ko', 'kernel/pvpanic-mmio.ko'])
    expect(pick('pvpanic-mmio')).toHaveLength(2)
  })

  it('leaves out what is built into the kernel', () => {
    addModule('kernel/virtio_blk.ko', 'depends=virtio_ring')

    expect(pick('virtio_blk', 'virtio-ring').map(module => module.name)).toEqual(['virtio_blk'])
  })

  it('names a missing dependency and who needs it', () => {
    addModule('kernel/a.ko', 'depends=b')

    expect(() => pick('a')).toThrow('has no module b, which a needs')
  })

  it('refuses a loop of dependencies', () => {
    addModule('kernel/a.ko', 'depends=b')
    addModule('kernel/b.ko', 'depends=a')

    expect(() => pick('a')).toThrow('depends on itself')
  })
})

describe('modulesDep', () => {
  it('lists everything a module needs, the last to be loaded first', () => {
    addModule('kernel/a.ko', 'depends=b')
    addModule('kernel/b.ko', 'depends=c')
    addModule('kernel/c.ko', 'depends=')

    expect(modulesDep(pick('a'))).toBe('kernel/c.ko:\nkernel/b.ko: kernel/c.ko\nkernel/a.ko: kernel/b.ko kernel/c.ko\n')
  })
})

describe('modulesAlias', () => {
  it('writes one line per alias', () => {
    addModule('kernel/overlay.ko', 'alias=fs-overlay', 'depends=', 'alias=other')

    expect(modulesAlias(pick('overlay'))).toBe('alias fs-overlay overlay\nalias other overlay\n')
  })
})

describe('readModuleInfo', () => {
  it('refuses a file that is no ELF object', () => {
    expect(() => readModuleInfo('a', new Uint8Array(100))).toThrow('kernel module a is damaged')
  })

  it('refuses a truncated module at any length', () => {
    const image = moduleImage(['depends=b'])
    const cuts = Array.from({ length: image.length - 1 }, (_, size) => image.slice(0, size))

    const accepted = cuts.filter(cut => succeeds(() => readModuleInfo('a', cut)))

    expect(accepted).toEqual([])
  })
})

function succeeds(action: () => void): boolean {
  try {
    action()
    return true
  } catch {
    return false
  }
}

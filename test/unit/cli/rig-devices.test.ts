import { describe, expect, it } from 'vitest'
import { rigDevices } from '../../../src/cli/rig-devices.ts'
import { parseRun } from '../../../src/cli/run-options.ts'

describe('rigDevices', () => {
  it('emulates what is passed on, and names its place to the inner run, which binds it', async () => {
    const { devices } = parseRun(['--vfio', 'edu', '--vfio', 'edu,rom=off'])
    await using found = await rigDevices(devices)
    expect(found.emulated).toEqual([{ kind: 'edu' }, { kind: 'edu' }])
    expect(found.needsNetwork).toBe(false)
    expect(found.words([])).toEqual(['--vfio', '0000:00:10.0,bind', '--vfio', '0000:00:13.0,bind,rom=off'])
  })

  it('brings the network of the emulated host up for a card', async () => {
    await using found = await rigDevices(parseRun(['--vfio', 'e1000e']).devices)
    expect(found.needsNetwork).toBe(true)
  })

  it('gives disks their new paths and keeps their serial numbers', async () => {
    await using found = await rigDevices(parseRun(['-d', '/some/disk,ro', '-d', '/other,serial=s']).devices)
    expect(found.files).toEqual([
      { path: '/some/disk', writable: false },
      { path: '/other', writable: true },
    ])
    const [, first = '', , second = ''] = found.words(['/dev/vde', '/dev/vdf'])
    expect(first).toMatch(/^\/dev\/vde,ro,serial=./)
    expect(second).toBe('/dev/vdf,serial=s')
  })
})

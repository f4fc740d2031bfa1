import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { namesRigDevice, parseRigDevice, parseRigDevices } from '../../../src/cli/rig-device-option.ts'

const folder = mkdtempSync(join(tmpdir(), 'bh-option-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'disk')
writeFileSync(file, '')
const withComma = join(folder, 'a,rw')
writeFileSync(withComma, '')

describe('namesRigDevice', () => {
  it.each(['edu', 'nvme=disk.img', 'nvme', 'e1000e', 'e1000e=rom.bin', 'edu,rom=off'])('knows %s', text => {
    expect(namesRigDevice(text)).toBe(true)
  })

  it.each(['00:10.0', '0000:01:00.0,bind', 'ed:10.0', 'e1000', ''])('leaves %j to others', text => {
    expect(namesRigDevice(text)).toBe(false)
  })
})

describe('parseRigDevice', () => {
  it.each([
    ['edu', false, { kind: 'edu' }],
    ['e1000e', false, { kind: 'e1000e' }],
    [`e1000e=${file}`, false, { kind: 'e1000e', rom: file }],
    [`nvme=${file}`, false, { kind: 'nvme', path: file, writable: false }],
    [`nvme=${file}`, true, { kind: 'nvme', path: file, writable: true }],
    [`nvme=${file},rw`, false, { kind: 'nvme', path: file, writable: true }],
    [`nvme=${file},ro`, true, { kind: 'nvme', path: file, writable: false }],
    [`nvme=${withComma},ro`, true, { kind: 'nvme', path: withComma, writable: false }],
  ])('takes %s, where disks are writable by default: %s', (text, writable, device) => {
    expect(parseRigDevice('--device', text, { writable })).toEqual(device)
  })

  it.each([
    ['nvme=/no/such', '/no/such is no file'],
    ['nvme=/', '/ is no file'],
    ['nvme=', ' is no file'],
    ['nvme=/etc/passwd/x', '/etc/passwd/x is no file'],
    [`nvme=/${'x'.repeat(300)}`, 'is no file'],
    ['nvme=a\0b', 'is no file'],
    ['e1000e=/etc/passwd/x', '/etc/passwd/x is no file'],
    ['nvme', 'must be edu, nvme=FILE[,ro|rw] or e1000e[=ROMFILE]'],
    ['edu=1', 'must be edu'],
    ['edu,bind', 'must be edu'],
    ['edu+edu', 'must be edu'],
    ['e1000e=/no/such', '/no/such is no file'],
    ['virtio', 'must be edu'],
  ])('refuses %j', (text, message) => {
    expect(() => parseRigDevice('--device', text, { writable: true })).toThrow(message)
  })
})

describe('parseRigDevices', () => {
  it('takes several edu devices for one group', () => {
    const further = { kind: 'edu', joins: true }
    expect(parseRigDevices('edu+edu+edu')).toEqual([{ kind: 'edu', joins: false }, further, further])
  })

  it('takes one device of any kind, a disk only for reading', () => {
    expect(parseRigDevices(`nvme=${file}`)).toEqual([{ kind: 'nvme', path: file, writable: false }])
  })

  it.each(['edu+', 'edu+nvme', `nvme=${file}+edu`])('refuses %s', text => {
    expect(() => parseRigDevices(text)).toThrow()
  })
})

import { describe, expect, it } from 'vitest'
import { refusalWith, tryCommand } from '../../support/refusal.ts'

/** Every refusal is this: one sentence, status 2, and no trace. */
const refuses = async (args: readonly string[], phrase: string) =>
  expect(await tryCommand(args)).toEqual(refusalWith(phrase))

describe('bulkhead vfio', () => {
  it.each([
    [[], 'vfio does one of status, bind, unbind: see bulkhead help vfio'],
    [['list'], 'vfio does one of status, bind, unbind'],
    [['constructor'], 'vfio does one of'],
    [['bind'], 'vfio bind needs the address of a device: vfio status shows them'],
    [['unbind', '--group'], 'vfio unbind needs the address of a device'],
    [['status', '--force'], 'vfio status has no option --force'],
    [['bind', '00:10.0', '--json'], 'vfio bind has no option --json'],
    [['bind', 'edu'], '"edu" is no PCI address: write it as 00:10.0 or 0000:00:10.0'],
    [['unbind', '00:10'], '"00:10" is no PCI address'],
    [['status', 'ffff:ff:1f.7'], 'this host has no PCI device ffff:ff:1f.7'],
    [['bind', '--nonsense'], 'vfio has no option --nonsense'],
  ])('refuses %j', (words, phrase) => refuses(['vfio', ...words], phrase))
})

describe('bulkhead doctor', () => {
  it.each([
    [['now'], 'doctor does not take "now"'],
    [['--fix'], 'doctor has no option --fix'],
  ])('refuses %j', (words, phrase) => refuses(['doctor', ...words], phrase))
})

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { randomFrom } from '../../support/boot-outcome.ts'
import { bzImage, elf, pvhNote } from '../../support/kernel-images.ts'
import { Assembler } from '../../support/micro-guest.ts'
import { refusalWith, tryCommand } from '../../support/refusal.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-images-'))
afterAll(() => rmSync(folder, { recursive: true }))

const MIB = 2 ** 20
const linux = bzImage()
const file = (name: string, bytes: Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}
const random = randomFrom(7)
const noise = new Uint8Array(100_000).map(() => random())

const KERNEL = file('bzImage', linux)
const EMPTY = file('empty', new Uint8Array(0))
const NOISE = file('noise', noise)
const FOLDER = join(folder, 'folder')
mkdirSync(FOLDER)

/** Every refusal is this: one sentence, status 2, and no trace; nothing is fetched for it. */
const refuses = async (words: readonly string[], phrase: string) =>
  expect(await tryCommand(['run', ...words])).toEqual(refusalWith(phrase))

describe('bulkhead run --kernel', () => {
  it.each([
    ['a file that is not there', join(folder, 'missing'), 'missing: there is no such file'],
    ['an empty path', '', 'there is no such file'],
    ['a file as a folder', join(KERNEL, 'inside'), 'inside: there is no such file'],
    ['a path that is too long', join(folder, 'x'.repeat(300)), 'cannot be looked up (ENAMETOOLONG)'],
    ['a folder', FOLDER, 'folder: this is not a file'],
    ['a character device', '/dev/null', '/dev/null: this is not a file'],
    ['an empty file', EMPTY, 'is empty; a kernel image is needed'],
    ['random bytes', NOISE, 'is no kernel image'],
    ['one byte', file('byte', Uint8Array.of(0x7f)), 'is no kernel image'],
    ['a text', file('text', new TextEncoder().encode('#!/bin/sh\nexec kernel\n')), 'is no kernel image'],
    ['an ELF magic alone', file('magic', elf().subarray(0, 4)), 'magic'],
    ['an ELF header alone', file('header', elf().subarray(0, 64)), 'header'],
    ['an ELF of another processor', file('arm', elf({ machine: 183 })), 'arm'],
  ])('refuses %s, on a console and for a command', async (_, path, phrase) => {
    await refuses([`--kernel=${path}`], phrase)
    await refuses([`--kernel=${path}`, '--', 'true'], phrase)
  })

  it.each([1, 0x1f0, 0x1f1, 0x200, 0x202, 0x206, 0x210, 0x250, 0x26b, 0x26c, 0x3ff, 0x400, linux.length - 1])(
    'refuses a bzImage that ends after %d bytes',
    length => refuses(['-k', file(`bzImage-${length}`, linux.subarray(0, length))], `bzImage-${length}`),
  )

  it('refuses a multiboot kernel for a command', async () => {
    const kernel = file('micro-guest', new Assembler().exit(0).image())
    await refuses(['-k', kernel, '--', 'true'], 'is a multiboot kernel: leave out the command')
  })

  it.each([
    ['pvh', file('no-note', elf()), 'no-note'],
    ['multiboot', KERNEL, 'bzImage'],
    ['multiboot', NOISE, 'has no multiboot header'],
    ['linux64', NOISE, 'is no kernel image'],
  ])('refuses the protocol %s for an image without it', (protocol, path, phrase) =>
    refuses(['--protocol', protocol, '-k', path], phrase),
  )

  it.each([
    ['a bzImage', KERNEL, '16'],
    ['a bzImage, by one MiB', KERNEL, '23'],
    ['an ELF', file('elf', elf({ segments: [{ paddr: 16 * MIB, bytes: new Uint8Array(16), memsz: 8 * MIB }] })), '23'],
    ['a PVH kernel', file('pvh', elf({ notes: pvhNote(16 * MIB) })), '16'],
  ])('refuses %s that is larger than the memory', (_, path, memory) =>
    refuses(['-m', memory, '-k', path], `MiB: raise -m`),
  )

  it('starts the same image with one MiB more', async () => {
    // Past the plan, the next thing that is missing is the rig or the guest's own end: not bad input.
    const { stderr } = await tryCommand(['run', '-m', '24', '-k', KERNEL, '--timeout', '1', '--host', 'rig'])
    expect(stderr).toContain('is not installed')
  })
})

describe('bulkhead run --initrd', () => {
  it.each([
    ['that is not there', join(folder, 'missing'), 'missing: there is no such file'],
    ['that is a folder', FOLDER, 'folder: this is not a file'],
    ['that is empty', EMPTY, 'empty: the file is empty'],
  ])('refuses one %s', (_, path, phrase) => refuses(['-k', KERNEL, '-i', path], phrase))

  it('refuses one that is larger than the memory', async () => {
    const initrd = file('initrd', new Uint8Array(40 * MIB))
    await refuses(['-k', KERNEL, '-i', initrd, '-m', '32'], 'initrd')
  })
})

describe('bulkhead run --params', () => {
  it('refuses a command line that is longer than the kernel takes', () =>
    refuses(['-k', KERNEL, '-p', 'x'.repeat(2048)], '2047'))
})

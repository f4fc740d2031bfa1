import { describe, expect, it } from 'vitest'
import { extractVmlinux } from '../../../src/boot/payload.ts'
import { bzImage, elf, join } from '../../support/kernel-images.ts'

const vmlinux = elf()
const trailer = (size: number) => new Uint8Array(new Uint32Array([size]).buffer)
const zstd = join(Bun.zstdCompressSync(vmlinux), trailer(vmlinux.length))

describe('extractVmlinux', () => {
  it('unpacks zstd, which has the size appended', () => {
    expect(extractVmlinux(bzImage({ payload: zstd }))).toEqual(vmlinux)
  })

  it('unpacks gzip, whose own trailer is the size', () => {
    expect(extractVmlinux(bzImage({ payload: Bun.gzipSync(new Uint8Array(vmlinux)) }))).toEqual(vmlinux)
  })

  it.each([
    ['an ELF file', elf()],
    ['nothing', new Uint8Array(0)],
    ['a bzImage with an unknown compression', bzImage({ payload: new Uint8Array(64).fill(0xfd) })],
    ['a bzImage without payload', bzImage()],
    ['a bzImage older than the payload fields', bzImage({ payload: zstd, version: 0x0207 })],
    ['a file cut inside the header', bzImage({ payload: zstd }).slice(0, 0x250)],
  ])('gives undefined for %s', (_name, image) => {
    expect(extractVmlinux(image)).toBeUndefined()
  })

  it('refuses a cut file', () => {
    expect(() => extractVmlinux(bzImage({ payload: zstd }).slice(0, 0x1000), 'vmlinuz')).toThrow(
      /^vmlinuz is truncated: its payload ends at byte \d+ and the file has 4096$/,
    )
  })

  it('refuses a payload that does not unpack', () => {
    const damaged = zstd.slice().fill(0xff, 8, 40)
    expect(() => extractVmlinux(bzImage({ payload: damaged }), 'vmlinuz')).toThrow(
      'vmlinuz is damaged: its compressed payload does not unpack',
    )
  })

  it('refuses a payload of another size than announced', () => {
    const wrong = join(Bun.zstdCompressSync(vmlinux), trailer(1))
    expect(() => extractVmlinux(bzImage({ payload: wrong }), 'vmlinuz')).toThrow(/should give 1$/)
  })
})

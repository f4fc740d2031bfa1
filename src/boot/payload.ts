/**
 * The compressed vmlinux inside a bzImage: Documentation/arch/x86/boot.rst "payload_offset". Unpacking it once lets
 * every later boot skip the kernel's own decompressor. Knows zstd and gzip; xz, lzma, lz4 and lzo give undefined.
 */
import { BadInput, HostError } from '../base/errors.ts'
import { isBzImage, readSetupHeader, viewOf } from './setup-header.ts'

const ZSTD_MAGIC = 0xfd2f_b528
const GZIP_MAGIC = 0x8b1f
/** payload_offset and payload_length exist since this protocol. */
const PROTOCOL_2_08 = 0x0208

/**
 * The uncompressed ELF kernel of a bzImage, or undefined if `image` is no bzImage or its compression is unknown.
 * A payload that is cut short or damaged is a BadInput naming `imageName`.
 *
 * @example writeFileSync('vmlinux', extractVmlinux(readFileSync('vmlinuz'), 'vmlinuz') ?? fail())
 */
export function extractVmlinux(image: Uint8Array, imageName = 'the kernel image'): Uint8Array | undefined {
  if (!isBzImage(image)) return undefined
  const header = readSetupHeader(image)
  if (header === undefined || header.version < PROTOCOL_2_08) return undefined
  const start = header.systemOffset + header.payloadOffset
  const end = start + header.payloadLength
  if (end > image.length)
    throw new BadInput(`${imageName} is truncated: its payload ends at byte ${end} and the file has ${image.length}`)
  if (header.payloadLength < 8) return undefined

  const payload = image.subarray(start, end)
  const view = viewOf(payload)
  // The last four bytes are the uncompressed size. The kernel's build appends them; gzip has them as its own trailer.
  const size = view.getUint32(payload.length - 4, true)
  const vmlinux = decompress(payload, view, imageName)
  if (vmlinux !== undefined && vmlinux.length !== size)
    throw new BadInput(
      `${imageName} is damaged: its payload unpacks to ${vmlinux.length} bytes and should give ${size}`,
    )
  return vmlinux
}

function decompress(payload: Uint8Array, view: DataView, imageName: string): Uint8Array | undefined {
  const zstd = view.getUint32(0, true) === ZSTD_MAGIC
  const gzip = view.getUint16(0, true) === GZIP_MAGIC
  if (!zstd && !gzip) return undefined
  // A view that owns its buffer alone: Bun's decompressors are typed to take no shared memory.
  const packed = zstd ? payload.slice(0, -4) : payload.slice()
  try {
    const unpacked = zstd ? Bun.zstdDecompressSync(packed) : Bun.gunzipSync(packed)
    // Not the Buffer that zstd gives: a caller may count on slice() to copy.
    return new Uint8Array(unpacked.buffer, unpacked.byteOffset, unpacked.length)
  } catch (cause) {
    throw new BadInput(`${imageName} is damaged: its compressed payload does not unpack`, { cause })
  }
}

/** Like `extractVmlinux`, for a kernel that has to be one of the kinds known here; `name` is for the error. */
export function requireVmlinux(bzImage: Uint8Array, name: string): Uint8Array {
  const vmlinux = extractVmlinux(bzImage, name)
  if (vmlinux === undefined) throw new HostError(`the kernel ${name} is compressed in a way unknown here`)
  return vmlinux
}

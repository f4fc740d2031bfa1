/**
 * The setup header of a Linux bzImage, Documentation/arch/x86/boot.rst "The Real-Mode Kernel Header".
 * Offsets are those in the file, which are also those in the zero page.
 */
import { getU64 } from '../base/u64.ts'

export const SETUP_HEADER = 0x1f1
export const HDR_MAGIC = 0x5372_6448 // "HdrS"
export const BOOT_FLAG = 0xaa55

export const Hdr = {
  setupSects: 0x1f1,
  syssize: 0x1f4,
  bootFlag: 0x1fe,
  jump: 0x200,
  header: 0x202,
  version: 0x206,
  typeOfLoader: 0x210,
  loadflags: 0x211,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  cmdLinePtr: 0x228,
  initrdAddrMax: 0x22c,
  kernelAlignment: 0x230,
  relocatableKernel: 0x234,
  xloadflags: 0x236,
  cmdlineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  setupData: 0x250,
  prefAddress: 0x258,
  initSize: 0x260,
  /** First byte past the fields above, which protocol 2.10 completed. */
  end: 0x264,
} as const

/** loadflags */
export const LOADED_HIGH = 0x01
/** xloadflags */
export const XLF_KERNEL_64 = 0x01

const SECTOR = 512

/** What a loader needs of the header, as the file says it: nothing is checked yet. */
export interface SetupHeader {
  readonly version: number
  readonly xloadflags: number
  /** File offset and announced size of the protected-mode part. */
  readonly systemOffset: number
  readonly systemSize: number
  /** The header's own bytes end here: the jump instruction at 0x200 leaps over it. */
  readonly headerEnd: number
  readonly initrdAddrMax: number
  readonly kernelAlignment: number
  readonly relocatable: boolean
  readonly cmdlineSize: number
  readonly payloadOffset: number
  readonly payloadLength: number
  readonly prefAddress: number
  readonly initSize: number
}

/** True if `image` carries both magic numbers of a bzImage. */
export function isBzImage(image: Uint8Array): boolean {
  if (image.length < Hdr.version) return false
  const view = viewOf(image)
  return view.getUint16(Hdr.bootFlag, true) === BOOT_FLAG && view.getUint32(Hdr.header, true) === HDR_MAGIC
}

/** Reads the header of a bzImage; undefined if the file ends inside it. */
export function readSetupHeader(image: Uint8Array): SetupHeader | undefined {
  if (image.length < Hdr.end) return undefined
  const view = viewOf(image)
  // Zero means four for ages-old reasons, says the protocol.
  const setupSects = view.getUint8(Hdr.setupSects) || 4
  return {
    version: view.getUint16(Hdr.version, true),
    xloadflags: view.getUint16(Hdr.xloadflags, true),
    systemOffset: (setupSects + 1) * SECTOR,
    systemSize: view.getUint32(Hdr.syssize, true) * 16,
    headerEnd: Hdr.header + view.getUint8(Hdr.jump + 1),
    initrdAddrMax: view.getUint32(Hdr.initrdAddrMax, true),
    kernelAlignment: view.getUint32(Hdr.kernelAlignment, true),
    relocatable: view.getUint8(Hdr.relocatableKernel) !== 0,
    cmdlineSize: view.getUint32(Hdr.cmdlineSize, true),
    payloadOffset: view.getUint32(Hdr.payloadOffset, true),
    payloadLength: view.getUint32(Hdr.payloadLength, true),
    prefAddress: getU64(view, Hdr.prefAddress),
    initSize: view.getUint32(Hdr.initSize, true),
  }
}

/** A DataView over the bytes of `image`, wherever they lie in their buffer. */
export function viewOf(image: Uint8Array): DataView {
  return new DataView(image.buffer, image.byteOffset, image.byteLength)
}

/** Starts a bzImage through the 64-bit boot protocol: Documentation/arch/x86/boot.rst "64-bit Boot Protocol". */
import { alignUp } from '../base/bits.ts'
import { BadInput } from '../base/errors.ts'
import { gdtSegment, pageTablesSegment } from './cpu-tables.ts'
import { GDT_GPA, ONE_MIB, PAGE_TABLES_GPA, ZERO_PAGE_GPA } from './low-memory.ts'
import { endOf, FOUR_GIB, findLowRoom, isRam } from './memory-map.ts'
import { type BootInputs, type BootPlan, cmdlineSegment, kernelTooBig, placeInitrd } from './plan.ts'
import { setupDataOf } from './setup-data.ts'
import { readSetupHeader, SETUP_HEADER, type SetupHeader, XLF_KERNEL_64 } from './setup-header.ts'
import { zeroPageSegment } from './zero-page.ts'

/** xloadflags exist since this protocol, so no 64-bit entry can be known before it. */
const PROTOCOL_2_12 = 0x020c
/** startup_64 lies here in the protected-mode part. */
const ENTRY_64 = 0x200

/** Plans the start of `inputs.image`, a bzImage. */
export function planBzImage(inputs: BootInputs): BootPlan {
  const { image, imageName, memoryMap, rsdp } = inputs
  const header = readSetupHeader(image)
  if (header === undefined)
    throw new BadInput(`${imageName} is truncated: the file of ${image.length} bytes ends inside its setup header`)
  checkHeader(header, inputs)

  // What follows the announced size (a signature) is not for memory.
  const system = image.subarray(header.systemOffset, header.systemOffset + header.systemSize)
  const kernel = { start: findKernelStart(header, inputs), size: kernelSize(header) }
  const cmdline = cmdlineSegment(inputs, header.cmdlineSize)
  const initrd = placeInitrd(inputs, [kernel], header.initrdAddrMax + 1)
  const setupHeader = image.subarray(SETUP_HEADER, header.headerEnd)
  const setupData = setupDataOf(inputs)
  return {
    format: 'bzImage',
    protocol: 'linux64',
    segments: [
      gdtSegment('long'),
      zeroPageSegment({ setupHeader, initrd, memoryMap, rsdp, setupData: setupData.gpa }),
      pageTablesSegment(),
      ...setupData.segments,
      cmdline,
      { gpa: kernel.start, bytes: system },
      ...(initrd?.segments ?? []),
    ],
    entry: {
      mode: 'long',
      rip: kernel.start + ENTRY_64,
      rsi: ZERO_PAGE_GPA,
      pageTables: PAGE_TABLES_GPA,
      gdt: GDT_GPA,
    },
  }
}

function checkHeader(header: SetupHeader, { image, imageName }: BootInputs): void {
  const { version, xloadflags, systemOffset, systemSize, kernelAlignment } = header
  if (version < PROTOCOL_2_12)
    throw new BadInput(
      `${imageName} uses Linux boot protocol ${version >> 8}.${version & 0xff}; a 64-bit kernel from Linux 3.8 on is needed`,
    )
  if ((xloadflags & XLF_KERNEL_64) === 0)
    throw new BadInput(`${imageName} is a 32-bit Linux kernel; a 64-bit one is needed`)
  if (systemOffset + systemSize > image.length)
    throw new BadInput(
      `${imageName} is truncated: its header announces ${systemOffset + systemSize} bytes and the file has ${image.length}`,
    )
  if (systemSize <= ENTRY_64)
    throw new BadInput(`${imageName} is damaged: its header announces a kernel of ${systemSize} bytes`)
  if (kernelAlignment === 0 || (kernelAlignment & (kernelAlignment - 1)) !== 0)
    throw new BadInput(`${imageName} is damaged: its kernel alignment ${kernelAlignment} is no power of two`)
}

/** What the kernel uses from its start on before it reads the memory map. */
function kernelSize(header: SetupHeader): number {
  return Math.max(header.initSize, header.systemSize)
}

/**
 * The preferred address if that is RAM. A relocatable kernel goes to the next fitting one above it: it moves itself
 * up to the preferred address when it is loaded below.
 */
function findKernelStart(header: SetupHeader, inputs: BootInputs): number {
  const { relocatable, kernelAlignment, prefAddress } = header
  const size = kernelSize(header)
  const preferred = { start: relocatable ? alignUp(prefAddress, kernelAlignment) : prefAddress, size }
  if (preferred.start >= ONE_MIB && endOf(preferred) <= FOUR_GIB && isRam(inputs.memoryMap, preferred))
    return preferred.start
  const floor = Math.max(preferred.start, ONE_MIB)
  const room = { size, alignment: kernelAlignment, floor, limit: FOUR_GIB, taken: [] }
  const start = relocatable ? findLowRoom(inputs.memoryMap, room) : undefined
  if (start === undefined) throw kernelTooBig(inputs, preferred)
  return start
}

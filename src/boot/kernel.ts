/** Recognizes a kernel image and plans its start: the door of `src/boot` for whoever builds a machine. */
import { assert, BadInput } from '../base/errors.ts'
import { planBzImage } from './bzimage.ts'
import { isElf, readElf } from './elf.ts'
import { planLinux64 } from './linux64.ts'
import { BOOT_AREA } from './low-memory.ts'
import { type Extent, endOf, isRam, ramBytes } from './memory-map.ts'
import { findMultibootHeader, planMultiboot } from './multiboot.ts'
import { extractVmlinux } from './payload.ts'
import { type BootInputs, type BootPlan, type BootProtocol, mib } from './plan.ts'
import { planPvh } from './pvh.ts'
import { isBzImage } from './setup-header.ts'

export type { BootInputs, BootPlan, BootProtocol, Entry, KernelFormat, Segment } from './plan.ts'

/**
 * Plans the start of a kernel. Without `protocol`, a bzImage starts by `linux64`; an image with a multiboot header by
 * `multiboot`; another ELF file by `pvh` if it has the PVH note and takes no device tree, else by `linux64`. A bzImage with protocol `pvh` is
 * unpacked first. Whatever is wrong with the inputs is a BadInput of one sentence.
 *
 * @example
 * const plan = planBoot({ image, imageName: 'vmlinuz', cmdline: 'console=ttyS0', initrd: [], memoryMap, rsdp })
 * for (const { gpa, bytes } of plan.segments) memory.write(gpa, bytes)
 */
export function planBoot(inputs: BootInputs): BootPlan {
  if (inputs.image.length === 0) throw new BadInput(`${inputs.imageName} is empty; a kernel image is needed`)
  if (!isRam(inputs.memoryMap, BOOT_AREA))
    throw new BadInput(
      `a guest of ${mib(ramBytes(inputs.memoryMap))} MiB has no room for the boot tables below 640 KiB: raise -m`,
    )
  const plan = planByFormat(inputs)
  if (inputs.deviceTree !== undefined && plan.protocol !== 'linux64')
    throw new BadInput(
      `${inputs.imageName} is entered by ${plan.protocol}, which takes no device tree: use topology=acpi, or the linux64 protocol`,
    )
  checkPlan(plan, inputs)
  return plan
}

function planByFormat(inputs: BootInputs): BootPlan {
  const { image, imageName, protocol } = inputs
  if (isBzImage(image)) return planBzImageBy(protocol ?? 'linux64', inputs)
  const multiboot = findMultibootHeader(image)
  if (multiboot !== undefined && (protocol === undefined || protocol === 'multiboot'))
    return planMultiboot(inputs, multiboot)
  if (protocol === 'multiboot')
    throw new BadInput(`${imageName} has no multiboot header in its first 8192 bytes; use another boot protocol`)
  if (isElf(image)) return planElf(inputs)
  throw new BadInput(`${imageName} is no kernel image: it is neither a bzImage nor an ELF file nor a multiboot image`)
}

function planBzImageBy(protocol: BootProtocol, inputs: BootInputs): BootPlan {
  const { image, imageName } = inputs
  if (protocol === 'linux64') return planBzImage(inputs)
  if (protocol === 'multiboot') throw new BadInput(`${imageName} is a bzImage, which multiboot cannot start`)
  const vmlinux = extractVmlinux(image, imageName)
  if (vmlinux === undefined)
    throw new BadInput(
      `${imageName} cannot be unpacked for PVH: its payload is neither zstd nor gzip; use the linux64 protocol`,
    )
  return { ...planPvh({ ...inputs, image: vmlinux }, readElf(vmlinux, imageName)), format: 'bzImage' }
}

function planElf(inputs: BootInputs): BootPlan {
  const kernel = readElf(inputs.image, inputs.imageName)
  const prefersPvh = kernel.pvhEntry !== undefined && inputs.deviceTree === undefined
  const protocol = inputs.protocol ?? (prefersPvh ? 'pvh' : 'linux64')
  return protocol === 'pvh' ? planPvh(inputs, kernel) : planLinux64(inputs, kernel)
}

/** The planners have refused whatever does not fit; this catches their own mistakes before they reach guest memory. */
function checkPlan(plan: BootPlan, { memoryMap }: BootInputs): void {
  const extents: Extent[] = plan.segments.map(({ gpa, bytes }) => ({ start: gpa, size: bytes.length }))
  extents.sort((a, b) => a.start - b.start)
  extents.forEach((extent, i) => {
    assert(isRam(memoryMap, extent), `a boot segment at ${extent.start} is outside RAM`)
    const next = extents[i + 1]
    assert(next === undefined || endOf(extent) <= next.start, `boot segments overlap at ${next?.start}`)
  })
}

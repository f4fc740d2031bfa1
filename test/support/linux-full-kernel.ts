/**
 * Debian's kernel for all machines, with the default guest's initrd around it: it has drivers of network cards, which the
 * kernel for clouds has not. Put together from packages once and kept in the cache. Its virtio drivers are modules, so
 * the streams of a command go over serial ports: `--console serial`.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { terminalProgress } from '../../src/base/progress.ts'
import { requireVmlinux } from '../../src/boot/payload.ts'
import { defaultInitrd } from '../../src/guest/initrd.ts'
import { readRecipe } from '../../src/guest/recipe.ts'
import { Apt } from '../../src/packages/apt.ts'
import { cacheEntry, cacheKey, cacheRoot } from '../../src/packages/cache.ts'
import { readKernel } from '../../src/packages/unpacked.ts'

/** Not those for clouds or real time, whose names go on before the architecture. */
const PACKAGE = 'linux-image-6.12.*+deb1[2-9]-amd64'
const MODULES = ['virtio_pci', 'virtio_iommu', 'button', 'e1000e']
/** The default guest's kernel has the first one built in. */
const IOMMU_MODULE = 'modprobe virtio_iommu\n'
const IOMMU_MODULES = 'modprobe -a virtio_pci virtio_iommu\n'
/**
 * Otherwise it looks for a graphics bridge by hand, which is 65536 functions of configuration space and 10 s under
 * emulation.
 */
const PARAMS = 'pci=noearly'
/** Raised when the same recipe makes other files. */
const FORMAT = '1'

/** Paths of the files, and the kernel's parameters. */
export interface FullKernel {
  readonly kernel: string
  readonly initrd: string
  readonly params: string
}

/** Makes it unless it is there: a download of 107 MB. */
export async function fullKernel(): Promise<FullKernel> {
  const { recipe, text, init } = readRecipe()
  if (!init.includes(IOMMU_MODULE)) throw new Error("the default guest's init loads the IOMMU's driver in another way")
  const own = { ...recipe, kernel: PACKAGE, loadedModules: [], modules: MODULES }
  const ownInit = init.replace(IOMMU_MODULE, IOMMU_MODULES)
  const name = `test-kernel-${cacheKey([FORMAT, text, JSON.stringify(own), ownInit])}`
  const entry = await cacheEntry(cacheRoot(), name, async folder => {
    const unpacked = join(folder, 'unpacked')
    await Apt.with(join(cacheRoot(), 'apt'), terminalProgress(process.stderr), 'run this on Debian', async apt => {
      for (const wanted of [PACKAGE, ...recipe.packages]) await apt.unpack(wanted, unpacked, { dependencies: false })
    })
    const { release, bzImage } = readKernel(unpacked)
    writeFileSync(join(folder, 'vmlinux'), requireVmlinux(bzImage, release))
    writeFileSync(join(folder, 'initrd'), defaultInitrd(unpacked, release, own, ownInit))
    rmSync(unpacked, { recursive: true })
  })
  return { kernel: join(entry, 'vmlinux'), initrd: join(entry, 'initrd'), params: `${recipe.params} ${PARAMS}` }
}

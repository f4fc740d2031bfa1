import { describe, expect, it } from 'vitest'
import { passthroughFindings } from '../../../src/cli/doctor-passthrough.ts'
import { HostTree } from '../../support/host-tree.ts'

/** A finding by its name, as "state: text". */
function finding(tree: HostTree, name: string, memoryLimit = Number.POSITIVE_INFINITY): string | undefined {
  const found = passthroughFindings(tree, memoryLimit).find(candidate => candidate.name === name)
  return found === undefined ? undefined : `${found.state}: ${found.text}`
}

function host(): HostTree {
  const tree = new HostTree()
  tree.device('0000:00:10.0', { group: 0 })
  tree.device('0000:00:11.0', { group: 1 })
  return tree
}

describe('passthroughFindings', () => {
  it('finds nothing missing on a host that can do everything', () => {
    using tree = host()
    tree.file('sys/class/iommu/dmar0/intel-iommu/ecap', 'f020df\n')
    tree.file('proc/interrupts', ' 24:  0  IR-PCI-MSI 16384-edge  nvme0q0\n')
    tree.driver('vfio-pci')
    tree.file('dev/vfio/vfio', '')
    tree.file('dev/vfio/1', '')
    tree.file('dev/kmsg', '')
    tree.file('sys/module/vfio_iommu_type1/parameters/dma_entry_limit', '65535\n')
    expect(passthroughFindings(tree, Number.POSITIVE_INFINITY).map(({ state, name }) => `${name}: ${state}`)).toEqual([
      'IOMMU: ok',
      'interrupt remapping: ok',
      'vfio-pci: ok',
      '/dev/vfio/vfio: ok',
      '/dev/vfio/1: ok',
      'locked memory: ok',
      'DMA mappings: ok',
      'kernel log: ok',
    ])
  })

  it('names the IOMMUs and counts the groups', () => {
    using tree = host()
    tree.file('sys/class/iommu/dmar1/address', '')
    tree.file('sys/class/iommu/dmar0/address', '')
    expect(finding(tree, 'IOMMU')).toBe('ok: dmar0 dmar1, 2 groups')
  })

  it('finds an IOMMU off that has no groups', () => {
    using tree = new HostTree()
    tree.file('sys/class/iommu/dmar0/address', '')
    tree.file('proc/cpuinfo', 'vendor_id : GenuineIntel\n')
    expect(finding(tree, 'IOMMU')).toMatch(/^missing: off: /)
  })

  it.each([
    ['vendor_id : GenuineIntel\nflags : vmx', /VT-d .* intel_iommu=on/],
    ['vendor_id : AuthenticAMD\nflags : svm', /AMD-Vi/],
    ['vendor_id : GenuineIntel\nflags : vmx hypervisor', /this host is a guest itself/],
    ['CPU implementer : 0x41', /firmware does not describe it/],
  ])('says what to do about an IOMMU that is off on %j', (cpuinfo, words) => {
    using tree = new HostTree()
    tree.file('proc/cpuinfo', `${cpuinfo}\n`)
    expect(finding(tree, 'IOMMU')).toMatch(words)
  })

  it('knows that an ITS keeps interrupts apart', () => {
    using tree = host()
    tree.file('proc/interrupts', ' 40:  0  ITS-PCI-MSI 524288 Edge  nvme0q0\n')
    expect(finding(tree, 'interrupt remapping')).toMatch(/^ok: /)
  })

  it('does without interrupt remapping where there is no IOMMU', () => {
    using tree = new HostTree()
    expect(finding(tree, 'interrupt remapping')).toBe('missing: comes with the IOMMU')
  })

  it('warns of unsafe interrupts', () => {
    using tree = host()
    tree.file('sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts', 'Y\n')
    expect(finding(tree, 'interrupt remapping')).toMatch(/^advice: off, and allow_unsafe_interrupts is set/)
  })

  it.each([
    ['f020de', /intremap=off/],
    ['f020d6', /allow_unsafe_interrupts=1$/],
  ])('tells with the capabilities %s whether interrupt remapping is off or not there', (ecap, words) => {
    using tree = host()
    tree.file('sys/class/iommu/dmar0/intel-iommu/ecap', `${ecap}\n`)
    expect(finding(tree, 'interrupt remapping')).toMatch(words)
  })

  it.each([
    ['modules.dep', 'kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/x.ko\n', /^advice: not loaded/],
    ['modules.builtin', 'kernel/drivers/vfio/pci/vfio-pci.ko\n', /^advice: not loaded/],
    ['modules.dep', 'kernel/drivers/vfio/pci/vfio-pci-core.ko.xz:\n', /^missing: this kernel/],
  ])('looks for vfio-pci in %s', (file, text, words) => {
    using tree = host()
    tree.file(`modules/${file}`, text)
    expect(finding(tree, 'vfio-pci')).toMatch(words)
  })

  it('tells how much memory may be locked', () => {
    using tree = host()
    expect(finding(tree, 'locked memory', 8 * 2 ** 20)).toMatch(/^advice: 8 MiB, /)
  })

  it('advises on what is not there', () => {
    using tree = host()
    expect([finding(tree, '/dev/vfio/vfio'), finding(tree, 'kernel log'), finding(tree, '/dev/vfio/1')]).toEqual([
      'missing: not there: modprobe vfio_iommu_type1 (a kernel with CONFIG_VFIO_CONTAINER)',
      "advice: not readable (ENOENT), so the host's faults are not shown: sysctl kernel.dmesg_restrict=0, or root",
      undefined,
    ])
  })
})

/** Names of the features that a driver of the IOMMU took. VIRTIO 1.2 §5.13.3, §6. */
const NAMES: Readonly<Record<number, string>> = {
  0: 'INPUT_RANGE',
  1: 'DOMAIN_RANGE',
  2: 'MAP_UNMAP',
  3: 'BYPASS',
  4: 'PROBE',
  5: 'MMIO',
  6: 'BYPASS_CONFIG',
  28: 'INDIRECT_DESC',
  29: 'EVENT_IDX',
  32: 'VERSION_1',
  33: 'ACCESS_PLATFORM',
  34: 'RING_PACKED',
  40: 'RING_RESET',
}

/** The features of a hexadecimal mask by name; those without one by number. A text that is no mask stays as it is. */
export function featureNames(mask: string): string {
  if (!/^0x[0-9a-f]{1,16}$/.test(mask)) return mask
  const bits = BigInt(mask)
  const set = Array.from({ length: 64 }, (_, bit) => bit).filter(bit => ((bits >> BigInt(bit)) & 1n) !== 0n)
  return set.length === 0 ? 'none' : set.map(bit => NAMES[bit] ?? `bit ${bit}`).join(' ')
}

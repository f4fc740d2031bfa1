/** MSI-X table and pending bits in front of a BAR's own registers. PCI Local Bus 3.0 §6.8.2. */
import { assert } from '../base/errors.ts'
import type { BusHandler } from '../bus/bus.ts'
import type { Bar } from './function.ts'
import type { Msix } from './msix.ts'

/** `bar` as the bus sees it: with what of `msix` lies in it. */
export function withMsix(bar: Bar, msix: Msix): Bar {
  const { place, tableSize, pbaSize } = msix
  const { tableOffset, pbaOffset, bar: tableBar, pbaBar = tableBar } = place
  const hasTable = tableBar === bar.index
  const hasPba = pbaBar === bar.index
  if (!hasTable && !hasPba) return bar
  assert(
    (!hasTable || tableOffset + tableSize <= bar.size) && (!hasPba || pbaOffset + pbaSize <= bar.size),
    `${bar.name}: MSI-X fits its BAR`,
  )
  assert(
    hasTable !== hasPba || tableOffset + tableSize <= pbaOffset || pbaOffset + pbaSize <= tableOffset,
    `${bar.name}: table and PBA do not overlap`,
  )
  const target = (offset: number): readonly [BusHandler, number] => {
    if (hasTable && offset >= tableOffset && offset < tableOffset + tableSize) return [msix.table, tableOffset]
    if (hasPba && offset >= pbaOffset && offset < pbaOffset + pbaSize) return [msix.pba, pbaOffset]
    return [bar.handler, 0]
  }
  return {
    index: bar.index,
    size: bar.size,
    kind: bar.kind,
    prefetchable: bar.prefetchable,
    name: bar.name,
    onMap: address => bar.onMap?.(address),
    handler: {
      // Of a qword only its dwords are exact numbers.
      accessSize: Math.min(4, bar.handler.accessSize ?? 4) as 1 | 2 | 4,
      read: (offset, size) => {
        const [handler, start] = target(offset)
        return handler.read(offset - start, size)
      },
      write: (offset, size, value) => {
        const [handler, start] = target(offset)
        handler.write(offset - start, size, value)
      },
    },
  }
}

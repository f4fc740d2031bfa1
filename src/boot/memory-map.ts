/** Guest memory as the boot tables describe it to the guest, and the search for free room in it. */
import { alignDown, alignUp } from '../base/bits.ts'

/** What a range of guest physical addresses is for. */
export type MemoryType = 'ram' | 'reserved' | 'acpi'

/** A range of guest physical addresses. RAM ranges do not touch each other: two that do are given as one. */
export interface MemoryRange {
  readonly start: number
  readonly size: number
  readonly type: MemoryType
}

/** Any run of guest physical addresses. */
export interface Extent {
  readonly start: number
  readonly size: number
}

/** Address range types, ACPI 6.4 §15 table 15.374. E820, the PVH memory map and multiboot share the numbers. */
export const ADDRESS_RANGE: Readonly<Record<MemoryType, number>> = { ram: 1, reserved: 2, acpi: 3 }

/** The boot tables and the identity page tables end here. */
export const FOUR_GIB = 0x1_0000_0000

/** First address past `extent`. */
export function endOf(extent: Extent): number {
  return extent.start + extent.size
}

/** True if both share at least one byte. */
export function overlaps(a: Extent, b: Extent): boolean {
  return a.size > 0 && b.size > 0 && a.start < endOf(b) && b.start < endOf(a)
}

/** True if `extent` lies inside one RAM range and touches no range of another type. */
export function isRam(map: readonly MemoryRange[], extent: Extent): boolean {
  const inside = map.some(range => range.type === 'ram' && extent.start >= range.start && endOf(extent) <= endOf(range))
  return inside && !map.some(range => range.type !== 'ram' && overlaps(range, extent))
}

/** Bytes of RAM in all. */
export function ramBytes(map: readonly MemoryRange[]): number {
  return map.reduce((sum, range) => sum + (range.type === 'ram' ? range.size : 0), 0)
}

/** A search for free RAM: `size` bytes at a multiple of `alignment`, in [floor, limit), clear of `taken`. */
export interface RoomRequest {
  readonly size: number
  readonly alignment: number
  readonly floor: number
  readonly limit: number
  readonly taken: readonly Extent[]
}

/** The highest address that satisfies `request`. Every step passes one obstacle, so the loop ends. */
export function findHighRoom(map: readonly MemoryRange[], request: RoomRequest): number | undefined {
  const { size, alignment, floor, limit } = request
  const obstacles = obstaclesIn(map, request)
  const ranges = map.filter(range => range.type === 'ram').sort((a, b) => b.start - a.start)
  for (const range of ranges) {
    let at = alignDown(Math.min(endOf(range), limit) - size, alignment)
    while (at >= Math.max(range.start, floor)) {
      const start = at
      const clash = obstacles.find(obstacle => overlaps(obstacle, { start, size }))
      if (clash === undefined) return at
      at = alignDown(clash.start - size, alignment)
    }
  }
  return undefined
}

/** The lowest address that satisfies `request`. */
export function findLowRoom(map: readonly MemoryRange[], request: RoomRequest): number | undefined {
  const { size, alignment, floor, limit } = request
  const obstacles = obstaclesIn(map, request)
  const ranges = map.filter(range => range.type === 'ram').sort((a, b) => a.start - b.start)
  for (const range of ranges) {
    let at = alignUp(Math.max(range.start, floor), alignment)
    while (at + size <= Math.min(endOf(range), limit)) {
      const start = at
      const clash = obstacles.find(obstacle => overlaps(obstacle, { start, size }))
      if (clash === undefined) return at
      at = alignUp(endOf(clash), alignment)
    }
  }
  return undefined
}

function obstaclesIn(map: readonly MemoryRange[], request: RoomRequest): readonly Extent[] {
  return [...request.taken, ...map.filter(range => range.type !== 'ram')]
}

/**
 * Memory for the fuzzer: a device sees some scattered pages with rights, and every look at anything else is an error,
 * as is more work than one event may cause.
 */

import { Access, type DmaSpace, type DmaUser, IdentitySpace } from '../../src/memory/dma-space.ts'
import type { Extents } from '../../src/memory/extents.ts'
import type { GuestMemory } from '../../src/memory/guest-memory.ts'
import type { Random } from './random.ts'
import { HIGH_START, type VirtioMemory } from './virtio-memory.ts'

const PAGE_SIZE = 4096
/** What the device sees: this many pages from here on, a tenth of them holes. */
export const FUZZ_START = 0x10_0000
export const FUZZ_PAGES = 64
export const FUZZ_SIZE = FUZZ_PAGES * PAGE_SIZE

const ALL_RIGHTS = Access.read | Access.write
/** Most pages are good for everything, some only for reading or writing, and some are holes. */
const RIGHTS = [...Array<number>(14).fill(ALL_RIGHTS), Access.read, Access.read, Access.write, Access.write, 0, 0]

/** Translations and looks at memory that one event may take; an endless loop takes more. */
const STEP_LIMIT = 4_000_000

interface Page {
  readonly address: number
  readonly access: number
  /** What a page that the device may not write has to be like. */
  readonly image: Uint8Array | undefined
}

/** A DmaSpace and a watch on its memory. */
export class FuzzSpace implements DmaSpace {
  readonly isRevocable = true
  readonly memory: GuestMemory
  private generation = 0
  private readonly pages = new Map<number, Page>()
  /** Granted pages by their place in memory. */
  private readonly granted = new Map<number, Page>()
  private readonly identity: IdentitySpace
  private readonly users = new Set<DmaUser>()
  private moving: { readonly iova: number; readonly page: Page }[] = []
  private readonly raw: (address: number) => Uint8Array
  private steps = 0
  private isOpen = false

  constructor(
    private readonly virtioMemory: VirtioMemory,
    private readonly random: Random,
    /** Addresses are those of memory, as some back ends need it; what is granted is granted in one piece. */
    private readonly isIdentity: boolean,
  ) {
    const { memory } = virtioMemory
    this.memory = memory
    this.identity = new IdentitySpace(memory)
    const { viewAt, windowAt, bytesAt } = memory
    this.raw = address => bytesAt.call(memory, address, PAGE_SIZE)
    memory.viewAt = address => viewAt.call(memory, this.look(address))
    memory.windowAt = address => windowAt.call(memory, this.look(address))
    memory.bytesAt = (address, size) => bytesAt.call(memory, this.look(address), size)
    for (let i = 0; i < FUZZ_PAGES; i++) {
      const iova = FUZZ_START + i * PAGE_SIZE
      if (isIdentity) this.grant(iova, iova, ALL_RIGHTS)
      else this.grant(iova, this.freePage(random), RIGHTS[random.below(RIGHTS.length)] as number)
    }
  }

  /** Queues ask for this at every step, so a loop over one shows here. */
  get version(): number {
    this.step()
    return this.generation
  }

  /** All translations are void, even if they come out the same. */
  takeVersion(): void {
    this.generation++
  }

  /** For the device. */
  get dmaSpace(): DmaSpace {
    if (!this.isIdentity) return this
    return Object.defineProperties(new IdentitySpace(this.memory), {
      translate: { value: this.translate.bind(this) },
      version: { get: () => this.version },
    })
  }

  translate(iova: number, length: number, access: number, extents: Extents): boolean {
    this.step()
    if (this.isOpen) return this.identity.translate(iova, length, access, extents)
    if (this.isIdentity)
      return this.allows(iova, length, access) && this.identity.translate(iova, length, access, extents)
    const { count } = extents
    for (let at = iova, rest = length; rest > 0; ) {
      const offset = at % PAGE_SIZE
      const page = this.pages.get(at - offset)
      if (page === undefined || (page.access & access) !== access) {
        extents.truncate(count)
        return false
      }
      const size = Math.min(PAGE_SIZE - offset, rest)
      extents.add(page.address + offset, size)
      at += size
      rest -= size
    }
    return true
  }

  addUser(user: DmaUser): void {
    this.users.add(user)
  }

  removeUser(user: DmaUser): void {
    this.users.delete(user)
  }

  released(): void {
    const over = this.moving.filter(({ iova }) => !this.isBusy(iova))
    this.moving = this.moving.filter(page => !over.includes(page))
    for (const { iova, page } of over) this.finishMove(iova, page)
  }

  /**
   * Maps an address to another page, as a driver and its IOMMU do: the old one is not the device's any more as soon as
   * nobody is busy in it, and the new one is there then.
   */
  move(): void {
    const iova = FUZZ_START + PAGE_SIZE * this.random.below(FUZZ_PAGES)
    const page = this.pages.get(iova)
    if (page === undefined || this.isIdentity || this.isOpen) return
    this.pages.delete(iova)
    if ([...this.users].some(user => user.keeps(iova, iova + PAGE_SIZE - 1))) this.generation++
    if (this.isBusy(iova)) this.moving.push({ iova, page })
    else this.finishMove(iova, page)
  }

  /** How many pages wait for somebody who is busy. */
  get movingCount(): number {
    return this.moving.length
  }

  /** The driver's own way to memory: writes what is mapped of `bytes`. */
  poke(iova: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const at = iova + i
      const offset = at % PAGE_SIZE
      const page = this.pages.get(at - offset)
      if (page === undefined) continue
      this.raw(page.address)[offset] = bytes[i] as number
      if (page.image !== undefined) page.image[offset] = bytes[i] as number
    }
  }

  /** Whether the device may access all of a range. */
  allows(iova: number, length: number, access: number): boolean {
    for (let at = iova - (iova % PAGE_SIZE); at < iova + length; at += PAGE_SIZE)
      if (((this.pages.get(at)?.access ?? 0) & access) !== access) return false
    return true
  }

  /** A new event begins. */
  begin(): void {
    this.steps = 0
  }

  /** From now on all memory is there, by its own address. */
  open(): void {
    this.isOpen = true
    this.takeVersion()
  }

  /** Throws when the device wrote where it may not. */
  verify(): void {
    const { windowBytes } = this.virtioMemory
    for (const start of [0, windowBytes, HIGH_START])
      for (let at = start; at < start + windowBytes; at += PAGE_SIZE) {
        const page = this.granted.get(at)
        const image = page === undefined ? ZEROES : page.image
        if (image !== undefined && Buffer.compare(this.raw(at), image) !== 0)
          throw new Error(`the device wrote to 0x${at.toString(16)}, which it may not`)
      }
  }

  private isBusy(iova: number): boolean {
    return [...this.users].some(user => user.isBusy(iova, iova + PAGE_SIZE - 1))
  }

  private finishMove(iova: number, { address, access }: Page): void {
    const content = this.raw(address).slice()
    this.granted.delete(address)
    this.raw(address).fill(0)
    this.grant(iova, this.freePage(this.random), access)
    this.poke(iova, content)
  }

  private grant(iova: number, address: number, access: number): void {
    if (access === 0) return
    const image = (access & Access.write) === 0 ? new Uint8Array(PAGE_SIZE) : undefined
    const page = { address, access, image }
    this.pages.set(iova, page)
    this.granted.set(address, page)
  }

  /** Half of the pages follow one that is granted, also over the edge of a window. */
  private freePage(random: Random): number {
    const { windowBytes } = this.virtioMemory
    const last = [...this.granted.keys()].at(-1)
    if (last !== undefined && random.below(2) === 0 && this.isFree(last + PAGE_SIZE)) return last + PAGE_SIZE
    const starts = [0, windowBytes - 8 * PAGE_SIZE, windowBytes, HIGH_START]
    for (;;) {
      const address = (starts[random.below(starts.length)] as number) + PAGE_SIZE * random.below(64)
      if (this.isFree(address)) return address
    }
  }

  private isFree(address: number): boolean {
    return this.memory.windowRoom(address) > 0 && !this.granted.has(address)
  }

  private look(address: number): number {
    this.step()
    const page = address - (address % PAGE_SIZE)
    if (!this.isOpen && !this.granted.has(page))
      throw new Error(`the device looks at 0x${address.toString(16)}, which it was not given`)
    return address
  }

  private step(): void {
    this.steps++
    if (this.steps > STEP_LIMIT) throw new Error('one event makes the device work without end')
  }
}

const ZEROES = new Uint8Array(PAGE_SIZE)

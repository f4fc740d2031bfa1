/** The identity, whose translations a test makes void by raising `version`. */
import { Access, type DmaSpace, IdentitySpace } from '../../src/memory/dma-space.ts'
import type { Extents } from '../../src/memory/extents.ts'
import type { GuestMemory } from '../../src/memory/guest-memory.ts'

export class ChangingSpace implements DmaSpace {
  readonly isRevocable = true
  version = 0
  /** Translations for buffers to write. */
  translated = 0
  private readonly identity: IdentitySpace

  constructor(readonly memory: GuestMemory) {
    this.identity = new IdentitySpace(memory)
  }

  addUser(): void {}

  removeUser(): void {}

  released(): void {}

  translate(iova: number, length: number, access: number, extents: Extents): boolean {
    if (access === Access.write) this.translated++
    return this.identity.translate(iova, length, access, extents)
  }
}

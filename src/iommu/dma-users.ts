/** Who uses translations of an endpoint, for whoever takes translations back. */
import type { DmaUser } from '../memory/dma-space.ts'

const EVERYTHING = Number.MAX_SAFE_INTEGER

/** See above. */
export class DmaUsers {
  private readonly users: DmaUser[] = []
  /** Those that are to go when they are no longer busy: until then the host may access memory in their behalf. */
  private readonly leaving = new Set<DmaUser>()

  add(user: DmaUser): void {
    this.leaving.delete(user)
    if (!this.users.includes(user)) this.users.push(user)
  }

  remove(user: DmaUser): void {
    if (user.isBusy(0, EVERYTHING)) this.leaving.add(user)
    else this.drop(user)
  }

  /** A user is less busy than before. */
  released(): void {
    for (const user of this.leaving) if (!user.isBusy(0, EVERYTHING)) this.drop(user)
  }

  /** Whether one of them keeps a translation of an address in the range. */
  keep(start: number, end: number): boolean {
    for (const user of this.users) if (user.keeps(start, end)) return true
    return false
  }

  /** Whether the host may access memory of the range right now. */
  areBusy(start: number, end: number): boolean {
    for (const user of this.users) if (user.isBusy(start, end)) return true
    return false
  }

  private drop(user: DmaUser): void {
    this.leaving.delete(user)
    const index = this.users.indexOf(user)
    if (index >= 0) this.users.splice(index, 1)
  }
}

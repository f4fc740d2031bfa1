/** A byte stream whose every byte follows from its place, so that a lost or doubled byte shows. */

/** The byte at `index`: printable, and with a period of 8,835 bytes. */
export function patternAt(index: number): number {
  return 0x21 + (((index % 93) + (index % 95)) % 94)
}

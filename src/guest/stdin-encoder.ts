/**
 * Standard input for a command in the guest when it is no terminal. The guest's tty (N_TTY in canonical mode, set up by
 * guests/default/init) has two special characters left, so any byte passes and the input can still end:
 * - ^V makes the next byte an ordinary one;
 * - ^D hands over what the line has so far; with nothing in the line, the reader sees that as the end of input.
 * A line of more than 4095 bytes would lose the rest, so a ^D is put in well before.
 */

const EOF = 0x04
const LNEXT = 0x16
const NEWLINE = 0x0a
/** Well below N_TTY_BUF_SIZE (4096), so that some lines fit at once. */
const LINE_LIMIT = 1024

/**
 * Encodes one input from its first byte to its end.
 *
 * @example port.write(encoder.encode(chunk)); ...; port.write(encoder.end())
 */
export class StdinEncoder {
  /** `chunk` for the tty. Whatever was given is readable in the guest at once, as it would be in a pipe. */
  encode(chunk: Uint8Array): Uint8Array<ArrayBuffer> {
    // The worst case: every byte escaped, and a ^D after each full line and at the end.
    const encoded = new Uint8Array(chunk.length * 2 + Math.ceil(chunk.length / LINE_LIMIT))
    let length = 0
    let column = 0
    for (const byte of chunk) {
      if (byte === EOF || byte === LNEXT) encoded[length++] = LNEXT
      encoded[length++] = byte
      column = byte === NEWLINE ? 0 : column + 1
      if (column === LINE_LIMIT) {
        encoded[length++] = EOF
        column = 0
      }
    }
    // Only after an unfinished line: with nothing in the line this would end the input.
    if (column > 0) encoded[length++] = EOF
    return encoded.slice(0, length)
  }

  /** What ends the input. Every chunk left the line empty, so one ^D does it. */
  end(): Uint8Array<ArrayBuffer> {
    return Uint8Array.of(EOF)
  }
}

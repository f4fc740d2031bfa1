/** Micro-guests: a few 32-bit instructions in a multiboot image, for tests on any KVM (page-table KVM runs them). */
import { multibootHeader } from './kernel-images.ts'

/** Where the image is loaded. */
export const LOAD_ADDRESS = 0x10_0000
const CODE_OFFSET = 0x40
const COM1 = 0x3f8
const LSR = COM1 + 5
const DEBUG_EXIT = 0xf4

/** Assembles 32-bit code; every method appends one instruction or a short sequence and returns the assembler. */
export class Assembler {
  private readonly bytes: number[] = []

  /** Address of the next instruction. */
  get here(): number {
    return LOAD_ADDRESS + CODE_OFFSET + this.bytes.length
  }

  raw(...bytes: number[]): this {
    this.bytes.push(...bytes)
    return this
  }

  /** mov eax, value */
  eax(value: number): this {
    return this.raw(0xb8, ...le32(value))
  }

  /** mov ecx, value */
  ecx(value: number): this {
    return this.raw(0xb9, ...le32(value))
  }

  /** mov edx, value */
  edx(value: number): this {
    return this.raw(0xba, ...le32(value))
  }

  /** mov ebx, value */
  ebx(value: number): this {
    return this.raw(0xbb, ...le32(value))
  }

  /** out port, al */
  out8(port: number): this {
    return this.edx(port).raw(0xee)
  }

  /** in al, port (eax is cleared before) */
  in8(port: number): this {
    return this.eax(0).edx(port).raw(0xec)
  }

  /** out port, eax */
  out32(port: number): this {
    return this.edx(port).raw(0xef)
  }

  /** in eax, port */
  in32(port: number): this {
    return this.edx(port).raw(0xed)
  }

  /** mov [address], eax */
  store(address: number): this {
    return this.raw(0xa3, ...le32(address))
  }

  /** mov eax, [address] */
  load(address: number): this {
    return this.raw(0xa1, ...le32(address))
  }

  /** mov dword [address], value */
  set(address: number, value: number): this {
    return this.raw(0xc7, 0x05, ...le32(address), ...le32(value))
  }

  /** lock inc dword [address] */
  increment(address: number): this {
    return this.raw(0xf0, 0xff, 0x05, ...le32(address))
  }

  /** mov esp, value */
  esp(value: number): this {
    return this.raw(0xbc, ...le32(value))
  }

  /** mov esi, value */
  esi(value: number): this {
    return this.raw(0xbe, ...le32(value))
  }

  /** mov edi, value */
  edi(value: number): this {
    return this.raw(0xbf, ...le32(value))
  }

  /** Waits until the bits of `mask` are set in COM1's line status. */
  awaitLineStatus(mask: number): this {
    const wait = this.here
    // test al, mask; jz wait
    this.in8(LSR).raw(0xa8, mask, 0x0f, 0x84)
    return this.raw(...le32(wait - (this.here + 4)))
  }

  /** dec ecx; jnz target */
  loop(target: number): this {
    this.raw(0x49)
    return this.raw(0x0f, 0x85, ...le32(target - (this.here + 6)))
  }

  /** jmp target */
  jump(target: number): this {
    return this.raw(0xe9, ...le32(target - (this.here + 5)))
  }

  /** Jumps to itself. */
  spin(): this {
    return this.raw(0xeb, 0xfe)
  }

  /** Sends `text` on COM1, waiting for room before each byte. */
  print(text: string): this {
    for (const char of new TextEncoder().encode(text)) {
      this.awaitLineStatus(0x20).eax(char).out8(COM1)
    }
    return this
  }

  /** Sends al as one byte on COM1. */
  sendAl(): this {
    return this.out8(COM1)
  }

  /** Ends the machine with status (value << 1) | 1. */
  exit(value: number): this {
    return this.eax(value).out8(DEBUG_EXIT).spin()
  }

  /** The code alone, for memory at LOAD_ADDRESS + 0x40. */
  code(): Uint8Array {
    return new Uint8Array(this.bytes)
  }

  /** A bootable image of the code. */
  image(): Uint8Array {
    const header = multibootHeader(0x0001_0000, [LOAD_ADDRESS, LOAD_ADDRESS, 0, 0, LOAD_ADDRESS + CODE_OFFSET])
    const image = new Uint8Array(CODE_OFFSET + this.bytes.length)
    image.set(header)
    image.set(this.bytes, CODE_OFFSET)
    return image
  }
}

/** The bytes of a 32-bit immediate. */
export function le32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff]
}

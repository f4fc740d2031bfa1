/**
 * Guests that do nothing but leave the guest: one port or memory access in an endless loop.
 *
 * `native` runs the loop in 64-bit user mode (CPL 3) with an I/O permission bitmap of zeros, which even page-table KVM
 * runs on the processor itself. `emulated` runs it in 32-bit protected mode at CPL 0, as firmware does; page-table KVM
 * emulates that.
 */
import { Assembler, LOAD_ADDRESS } from '../support/micro-guest.ts'

/** One access; the loop repeats it. */
export type Access =
  | { readonly kind: 'out8' | 'in8'; readonly port: number }
  | { readonly kind: 'store32' | 'load32'; readonly address: number }

/** How the processor runs the loop. */
export type GuestMode = 'native' | 'emulated'

/** Where the native guest's tables lie; pages behind the code in the image. */
const Table = {
  pml4: LOAD_ADDRESS + 0x1000,
  pdpt: LOAD_ADDRESS + 0x2000,
  lowPd: LOAD_ADDRESS + 0x3000,
  holePd: LOAD_ADDRESS + 0x4000,
  gdt: LOAD_ADDRESS + 0x5000,
  gdtr: LOAD_ADDRESS + 0x5100,
  tss: LOAD_ADDRESS + 0x6000,
  stack: LOAD_ADDRESS + 0x9ff0,
  end: LOAD_ADDRESS + 0xa000,
} as const

const GIB = 2 ** 30
const LARGE_PAGE = 2 ** 21
/** Present, writable, user; for a large page besides: page size. */
const TABLE_FLAGS = 0x07n
const LARGE_FLAGS = 0x87n

const Selector = { code: 0x08, data: 0x10, userData: 0x1b, userCode: 0x23, tss: 0x28 } as const
const TSS_SIZE = 104
/** One bit a port, and the final byte of ones that the processor demands. */
const IO_BITMAP_SIZE = 8192 + 1

/** A multiboot image of the guest. */
export function exitGuest(mode: GuestMode, access: Access): Uint8Array {
  const code = new Assembler()
  if (mode === 'emulated') return emitLoop(code, access).image()
  enterUserMode(code)
  emitLoop(code, access)
  const image = new Uint8Array(Table.end - LOAD_ADDRESS)
  image.set(code.image())
  writeTables(new DataView(image.buffer), 'address' in access ? access.address : 3 * GIB)
  return image
}

function emitLoop(code: Assembler, access: Access): Assembler {
  code.eax(0x41)
  if ('port' in access) code.edx(access.port)
  else code.ebx(access.address)
  const start = code.here
  switch (access.kind) {
    case 'out8':
      code.raw(0xee)
      break
    case 'in8':
      code.raw(0xec)
      break
    case 'store32':
      // mov [rbx], eax; the same bytes in 32-bit mode.
      code.raw(0x89, 0x03)
      break
    default:
      code.raw(0x8b, 0x03)
  }
  return code.jump(start)
}

/** From 32-bit protected mode to 64-bit mode, and on to CPL 3 at the next instruction. */
function enterUserMode(code: Assembler): void {
  // lgdt [gdtr]
  code.raw(0x0f, 0x01, 0x15, ...le32(Table.gdtr))
  // cr4 = PAE; cr3; EFER.LME; cr0 = PG | NE | ET | PE
  code.eax(0x20).raw(0x0f, 0x22, 0xe0)
  code.eax(Table.pml4).raw(0x0f, 0x22, 0xd8)
  code.ecx(0xc000_0080).eax(0x100).edx(0).raw(0x0f, 0x30)
  code.eax(0x8000_0031).raw(0x0f, 0x22, 0xc0)
  // jmp code:next
  code.raw(0xea, ...le32(code.here + 7), Selector.code, 0)
  // ltr; ss; esp (zero-extended)
  code.eax(Selector.tss).raw(0x0f, 0x00, 0xd8)
  code.eax(Selector.data).raw(0x8e, 0xd0)
  code.raw(0xbc, ...le32(Table.stack))
  // The frame of iretq: ss, rsp, rflags, cs, rip.
  code.raw(0x6a, Selector.userData)
  code.raw(0x68, ...le32(Table.stack))
  code.raw(0x6a, 0x02)
  code.raw(0x6a, Selector.userCode)
  code.raw(0x68, ...le32(code.here + 7))
  code.raw(0x48, 0xcf)
}

/** Identity page tables for the first 2 MiB and the 2 MiB around `mmio` (in the fourth GiB), GDT and TSS. */
function writeTables(image: DataView, mmio: number): void {
  const u64 = (address: number, value: bigint) => image.setBigUint64(address - LOAD_ADDRESS, value, true)
  const u16 = (address: number, value: number) => image.setUint16(address - LOAD_ADDRESS, value, true)
  const page = Math.floor(mmio / LARGE_PAGE) * LARGE_PAGE
  u64(Table.pml4, BigInt(Table.pdpt) | TABLE_FLAGS)
  u64(Table.pdpt, BigInt(Table.lowPd) | TABLE_FLAGS)
  u64(Table.pdpt + 3 * 8, BigInt(Table.holePd) | TABLE_FLAGS)
  u64(Table.lowPd, LARGE_FLAGS)
  u64(Table.holePd + ((page - 3 * GIB) / LARGE_PAGE) * 8, BigInt(page) | LARGE_FLAGS)

  u64(Table.gdt + Selector.code, 0x00af_9b00_0000_ffffn)
  u64(Table.gdt + Selector.data, 0x00cf_9300_0000_ffffn)
  u64(Table.gdt + (Selector.userData & ~3), 0x00cf_f300_0000_ffffn)
  u64(Table.gdt + (Selector.userCode & ~3), 0x00af_fb00_0000_ffffn)
  // An available 64-bit TSS: limit 15:0, base 23:0, type, base 31:24.
  const tss = BigInt(Table.tss)
  const limit = BigInt(TSS_SIZE + IO_BITMAP_SIZE - 1)
  u64(Table.gdt + Selector.tss, limit | ((tss & 0xff_ffffn) << 16n) | (0x89n << 40n) | ((tss >> 24n) << 56n))
  u16(Table.gdtr, Selector.tss + 16 - 1)
  image.setUint32(Table.gdtr + 2 - LOAD_ADDRESS, Table.gdt, true)
  // The I/O map base; the bitmap of zeros follows, then the byte of ones.
  u16(Table.tss + 102, TSS_SIZE)
  image.setUint8(Table.tss + TSS_SIZE + IO_BITMAP_SIZE - 1 - LOAD_ADDRESS, 0xff)
}

function le32(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff]
}

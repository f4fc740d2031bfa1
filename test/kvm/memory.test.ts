import { expect, it } from 'vitest'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler, le32 } from '../support/micro-guest.ts'
import { microMachine, wordOf } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
const VALUE = 0x4433_2211
const PML4 = 0x3_0000
const PDPT = 0x3_1000
const DIRECTORY = 0x3_2000
const MSR_EFER = 0xc000_0080
const EFER_LME = 0x100
const LARGE_PAGE = 2 * MIB
const LARGE = 0x83

/**
 * Turns the paging of long mode on and stays in 32-bit code: the first 2 MiB stay, and each further 2 MiB lead to the
 * given page. (A KVM by page tables knows no 32-bit paging.)
 */
function paging(pages: readonly number[]): Assembler {
  const code = new Assembler().set(PML4, PDPT | 3).set(PDPT, DIRECTORY | 3)
  for (const [index, page] of [0, ...pages].entries())
    code.set(DIRECTORY + 8 * index, (page % 2 ** 32) + LARGE).set(DIRECTORY + 8 * index + 4, Math.floor(page / 2 ** 32))
  return (
    code
      // mov cr4, eax with PAE; mov cr3, eax
      .eax(0x20)
      .raw(0x0f, 0x22, 0xe0)
      .eax(PML4)
      .raw(0x0f, 0x22, 0xd8)
      // wrmsr
      .ecx(MSR_EFER)
      .eax(EFER_LME)
      .edx(0)
      .raw(0x0f, 0x30)
      // mov eax, cr0; or eax, PG; mov cr0, eax; jmp to the next instruction
      .raw(0x0f, 0x20, 0xc0, 0x0d, ...le32(0x8000_0000), 0x0f, 0x22, 0xc0, 0xeb, 0x00)
  )
}

describeUnless(missingKvm(), 'guest memory', () => {
  it.each([
    ['at the border of two windows', 2 * GIB - 2],
    ['at the end of RAM below the hole', 3 * GIB - 4],
    ['in the first megabyte', 0x7_0000],
  ])('holds what the guest wrote %s', async (_, address) => {
    await using machine = microMachine(new Assembler().eax(VALUE).store(address).exit(0), { memoryMiB: 3072 })
    await machine.start()
    await machine.finished
    expect(wordOf(machine, address)).toBe(VALUE)
  })

  it('holds what a guest of 5000 MiB wrote above 4 GiB, across the border of two windows', async () => {
    // Each pair of large pages lies around an address: the start of high RAM, a window's border, the end of RAM.
    const end = 4 * GIB + (5000 - 3072) * MIB
    const code = paging([4 * GIB, 5 * GIB - LARGE_PAGE, 5 * GIB, end - LARGE_PAGE])
    code.eax(VALUE).store(LARGE_PAGE)
    code.store(3 * LARGE_PAGE - 2)
    code.store(5 * LARGE_PAGE - 4)
    await using machine = microMachine(code.exit(0), { memoryMiB: 5000 })
    await machine.start()
    expect(await machine.finished).toEqual({ type: 'debugExit', status: 1 })
    expect(wordOf(machine, 4 * GIB)).toBe(VALUE)
    expect(wordOf(machine, 5 * GIB - 2)).toBe(VALUE)
    expect(wordOf(machine, end - 4)).toBe(VALUE)
    expect(machine.memory().contains(end - 4, 5)).toBe(false)
    expect(machine.memory().contains(3 * GIB, 1)).toBe(false)
  })
})

/** Runs `planBoot` on hostile input and says how it ended; seeded mutations of images. */
import { BadInput } from '../../src/base/errors.ts'
import { planBoot } from '../../src/boot/kernel.ts'
import type { BootInputs, BootPlan } from '../../src/boot/plan.ts'

/** Inputs for a guest without initrd or ACPI. */
export function bootInputs(image: Uint8Array, rest: Partial<BootInputs> & Pick<BootInputs, 'memoryMap'>): BootInputs {
  return { image, imageName: 'kernel', cmdline: '', initrd: [], rsdp: 0, ...rest }
}

/** A plan, or the message of the BadInput; any other error passes through and fails the test. */
export function outcomeOf(inputs: BootInputs): BootPlan | string {
  try {
    return planBoot(inputs)
  } catch (error) {
    if (error instanceof BadInput) return error.message
    throw error
  }
}

/** Segments of a planned outcome that are not wholly inside a RAM range. */
export function straySegments(outcome: BootPlan | string, inputs: BootInputs): readonly number[] {
  if (typeof outcome === 'string') return []
  const ram = inputs.memoryMap.filter(range => range.type === 'ram')
  return outcome.segments
    .filter(({ gpa, bytes }) => !ram.some(r => gpa >= r.start && gpa + bytes.length <= r.start + r.size))
    .map(({ gpa }) => gpa)
}

/** A generator of numbers below 2^32, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/** `image` with one to eight bytes in [start, end) replaced. */
export function mutate(image: Uint8Array, start: number, end: number, random: () => number): Uint8Array {
  const mutant = image.slice()
  const count = 1 + (random() % 8)
  for (let i = 0; i < count; i++) mutant[start + (random() % (end - start))] = random() & 0xff
  return mutant
}

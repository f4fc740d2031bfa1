/**
 * Fuzzes the virtio devices for as long as asked: `npm run fuzz -- --seed N --minutes M [--device NAME] [--actions N]`.
 * Every failure names its seed, which repeats it. Ends with status 1 at the first one.
 */
import { parseArgs } from 'node:util'
import { FUZZ_SUBJECTS } from './support/fuzz-subjects.ts'
import { Fuzzer } from './support/fuzzer.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '1' },
    actions: { type: 'string', default: '3000' },
    device: { type: 'string' },
  },
})
const subjects = FUZZ_SUBJECTS.filter(({ name }) => values.device === undefined || name === values.device)
if (subjects.length === 0) {
  process.stderr.write(`no device "${values.device}"; there are ${FUZZ_SUBJECTS.map(({ name }) => name).join(', ')}\n`)
  process.exit(2)
}
const end = performance.now() + Number(values.minutes) * 60_000
const actions = Number(values.actions)
let seed = Number(values.seed)
let runs = 0
const counts: Record<string, number> = {}
do {
  for (const subject of subjects) {
    const fuzzer = new Fuzzer(subject, seed)
    fuzzer.run(actions)
    for (const [name, count] of Object.entries(fuzzer.counts)) counts[name] = (counts[name] ?? 0) + count
    runs++
  }
  seed++
} while (performance.now() < end)
process.stdout.write(`${runs} runs of ${actions} actions, seeds ${values.seed} to ${seed - 1}: nothing found\n`)
process.stdout.write(`${JSON.stringify(counts)}\n`)

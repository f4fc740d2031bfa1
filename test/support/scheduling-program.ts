/** Takes precedence, and shows the scheduling of this thread and of what it starts, as /proc has it. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { takePrecedence } from '../../src/host/scheduling.ts'

const before = readFileSync('/proc/thread-self/stat', 'utf8')
const taken = takePrecedence()
const after = readFileSync('/proc/thread-self/stat', 'utf8')
const child = spawnSync('cat', ['/proc/self/stat']).stdout.toString()
process.stdout.write(JSON.stringify({ taken, ...scheduling({ before, after, child }) }))

/** rt_priority and policy, the fields 40 and 41 (proc(5)); the name in the second may hold anything. */
function scheduling(stats: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(stats).map(([name, stat]) => {
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return [name, `priority ${fields[37]}, policy ${fields[38]}`]
    }),
  )
}

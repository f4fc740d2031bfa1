import { spawnSync } from 'node:child_process'
import { geteuid } from 'node:process'
import { expect, it } from 'vitest'
import { SCHED_FIFO } from '../../../src/host/scheduling.ts'
import { describeUnless } from '../../support/skip.ts'
import { AS_NOBODY, missingNobody } from '../../support/unprivileged.ts'

const PROGRAM = new URL('../../support/scheduling-program.ts', import.meta.url).pathname
const NORMAL = 'priority 0, policy 0'

function run(under: readonly string[]): unknown {
  const [command = '', ...words] = [...under, process.execPath, PROGRAM]
  const { stdout, stderr } = spawnSync(command, words, { cwd: '/' })
  expect(stderr.toString()).toBe('')
  return JSON.parse(stdout.toString())
}

describeUnless(geteuid?.() === 0 ? undefined : 'it takes root', 'takePrecedence', () => {
  it('puts the thread before normal ones, and not what it starts', () => {
    const expected = { taken: true, before: NORMAL, after: `priority 1, policy ${SCHED_FIFO}`, child: NORMAL }
    expect(run([])).toEqual(expected)
  })
})

describeUnless(missingNobody(), 'takePrecedence without rights', () => {
  it('is refused, and leaves the thread as it is', () => {
    expect(run(AS_NOBODY)).toEqual({ taken: false, before: NORMAL, after: NORMAL, child: NORMAL })
  })
})

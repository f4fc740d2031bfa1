/**
 * Runs all checks and tests one after the other under plain Node and ends with one line that counts the tests:
 * `N passed, N failed, N skipped`. A check that fails counts as one failed test. Stops at nothing: every failure shows.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Counts {
  passed: number
  failed: number
  skipped: number
}

const CHECKS = ['check:types', 'check:style'] as const
const PROJECTS = ['unit', 'kvm', 'guest'] as const

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
const total: Counts = { passed: 0, failed: 0, skipped: 0 }

function npm(script: string, words: readonly string[] = []): boolean {
  process.stdout.write(`\n== ${script}\n`)
  const started = performance.now()
  const { status } = spawnSync('npm', ['run', '--silent', script, ...words], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  process.stdout.write(
    `== ${script}: ${status === 0 ? 'ok' : 'FAILED'}, ${((performance.now() - started) / 1000).toFixed(0)} s\n`,
  )
  return status === 0
}

function countsOf(report: string): Counts {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
    readFileSync(report, 'utf8'),
  ) as {
    numPassedTests: number
    numFailedTests: number
    numPendingTests: number
    numTodoTests: number
  }
  return { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests + numTodoTests }
}

for (const check of CHECKS) if (!npm(check)) total.failed++
for (const project of PROJECTS) {
  const report = join(folder, `${project}.json`)
  const ok = npm(`test:${project}`, ['--', '--reporter=default', '--reporter=json', `--outputFile=${report}`])
  try {
    const counts = countsOf(report)
    total.passed += counts.passed
    total.skipped += counts.skipped
    // A file that cannot be loaded has no tests to count, but it is a failure.
    total.failed += ok ? counts.failed : Math.max(1, counts.failed)
  } catch {
    total.failed++
  }
}
rmSync(folder, { recursive: true, force: true })
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`)
process.exit(total.failed === 0 ? 0 : 1)

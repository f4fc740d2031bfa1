/** The watching thread of a Watchdog. */
import { workerData } from 'node:worker_threads'
import { kick } from '../../src/host/signals.ts'
import type { Watch } from './watchdog.ts'

const TICK_MS = 100

const { shared, tid, limitMs } = workerData as Watch
const words = new Int32Array(shared)
let watched = 0
let since = 0
while (Atomics.wait(words, 1, 0, TICK_MS) === 'timed-out') {
  const current = Atomics.load(words, 0)
  if (current !== watched) {
    watched = current
    since = performance.now()
  }
  if (watched !== 0 && performance.now() - since > limitMs) kick(tid)
}

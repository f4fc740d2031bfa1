/** A thread that blocks in epoll_wait for a minute unless it is kicked. Word 0 of its shared memory is its id. */
import { parentPort, workerData } from 'node:worker_threads'
import { Epoll } from '../../src/host/epoll.ts'
import { threadId } from '../../src/host/signals.ts'

const SLEEP_MS = 60_000

const started = performance.now()
using epoll = new Epoll()
Atomics.store(new Int32Array(workerData as SharedArrayBuffer), 0, threadId())
epoll.wait(SLEEP_MS)
parentPort?.postMessage(performance.now() - started < SLEEP_MS ? 'woken' : 'slept')

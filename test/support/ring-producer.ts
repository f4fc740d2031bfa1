/** A thread that pushes `total` bytes of the pattern through a ByteRing, in pieces of changing length. */
import { workerData } from 'node:worker_threads'
import { ByteRing } from '../../src/machine/byte-ring.ts'
import { patternAt } from './byte-pattern.ts'

const { shared, total } = workerData as { readonly shared: SharedArrayBuffer; readonly total: number }
const ring = new ByteRing(shared)
const pause = new Int32Array(new SharedArrayBuffer(4))
let sent = 0
while (sent < total) {
  const piece = new Uint8Array(Math.min(1 + (sent % 77), total - sent)).map((_, i) => patternAt(sent + i))
  const pushed = ring.push(piece)
  if (pushed === 0) Atomics.wait(pause, 0, 0, 0.1)
  sent += pushed
}

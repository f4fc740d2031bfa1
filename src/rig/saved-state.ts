/**
 * A machine that waits for a job, kept on disk: booting L1 takes seconds, restoring it a tenth of one. RAM is a sparse
 * file that every restored machine maps privately, so nothing is read before it is used; the devices' state is beside
 * it. The state fits one QEMU, kernel, initramfs, Bun, memory size and CPU count, and its folder's name says which.
 */
import { join } from 'node:path'
import { cacheEntry, cacheKey } from '../packages/cache.ts'
import { L1, STATE_FD } from './l1.ts'
import { Monitor } from './monitor.ts'
import { type Attachments, type MachineSpec, machineShape, type QemuProgram } from './qemu.ts'
import { expectLine } from './run.ts'
import { markUsed, removeUnused } from './unused.ts'

/** The quiet figure for a cold boot is 3 s; emulation on a loaded machine has been seen to take ten times that. */
const BOOT_LIMIT_MS = 120_000
/** Reading Bun once takes 0.7 s. */
const WARM_LIMIT_MS = 60_000
const NOTHING: Attachments = { drives: [], folders: [], devices: [] }

/** L1 waiting for its job: what it says comes as `lines` of its job port. */
export interface Waiting {
  readonly l1: L1
  readonly lines: AsyncGenerator<string>
}

/** Boots L1 from its kernel. */
export async function bootCold(
  program: QemuProgram,
  spec: MachineSpec,
  attachments: Attachments,
  abort: AbortSignal | undefined,
): Promise<Waiting> {
  const memory = { kind: attachments.folders.length === 0 ? 'own' : 'open' } as const
  const l1 = await L1.start({ program, spec, memory, attachments, abort })
  return ready(l1)
}

/** Names what a state fits. */
function stateKey(program: QemuProgram, spec: MachineSpec): string {
  return cacheKey([machineShape(), JSON.stringify([program, spec])])
}

/** The folder with the state of this machine, booted and saved if it is not there. */
export async function savedState(
  folder: string,
  program: QemuProgram,
  spec: MachineSpec,
  abort: AbortSignal | undefined,
): Promise<string> {
  return cacheEntry(folder, `state-${stateKey(program, spec)}`, async target => {
    removeUnused(folder, 'state-')
    const env = { BULKHEAD_STATE: join(target, 'devices') }
    const memory = { kind: 'save', path: join(target, 'ram') } as const
    const { l1, lines } = await ready(await L1.start({ program, spec, memory, attachments: NOTHING, env, abort }))
    try {
      await (await l1.port('job')).write(Buffer.from('warm\n'))
      await expectLine(l1, lines, 'warmed', WARM_LIMIT_MS)
      const monitor = await Monitor.open(await l1.port('monitor'))
      // The path travels in the environment: no quoting for QEMU and the shell to disagree on.
      await monitor.save('cat > "$BULKHEAD_STATE"')
    } finally {
      await l1.kill()
    }
  })
}

/** Starts the machine kept at `path` with the files of this job. */
export async function restoreState(
  path: string,
  program: QemuProgram,
  spec: MachineSpec,
  attachments: Attachments,
  abort: AbortSignal | undefined,
): Promise<Waiting> {
  const memory = { kind: 'restore', path: join(path, 'ram') } as const
  const l1 = await L1.start({ program, spec, memory, statePath: join(path, 'devices'), attachments, abort })
  try {
    const lines = (await l1.port('job')).lines()
    await (await Monitor.open(await l1.port('monitor'))).restore(STATE_FD)
    markUsed(path)
    return { l1, lines }
  } catch (error) {
    await l1.kill()
    throw error
  }
}

async function ready(l1: L1): Promise<Waiting> {
  try {
    const lines = (await l1.port('job')).lines()
    await expectLine(l1, lines, 'ready', BOOT_LIMIT_MS)
    return { l1, lines }
  } catch (error) {
    await l1.kill()
    throw error
  }
}

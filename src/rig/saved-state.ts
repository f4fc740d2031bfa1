/**
 * A machine that waits for a job, kept on disk: booting L1 takes seconds, restoring it a tenth of one. RAM is a sparse
 * file that every restored machine maps privately, so nothing is read before it is used; the devices' state is beside
 * it. The state fits one QEMU, kernel, initramfs, Bun, memory size and CPU count, and its folder's name says which.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { L1, STATE_FD } from './l1.ts'
import { Monitor } from './monitor.ts'
import { type Drive, type MachineSpec, machineShape, type QemuProgram } from './qemu.ts'
import { expectLine } from './run.ts'

/** The quiet figure for a cold boot is 3 s; emulation on a loaded machine has been seen to take ten times that. */
const BOOT_LIMIT_MS = 120_000
/** Reading Bun once takes 0.7 s. */
const WARM_LIMIT_MS = 60_000
/** A state that nobody has used for this long is removed when the next one is made. */
const KEEP_DAYS = 14

/** L1 waiting for its job: what it says comes as `lines` of its job port. */
export interface Waiting {
  readonly l1: L1
  readonly lines: AsyncGenerator<string>
}

/** Boots L1 from its kernel. */
export async function bootCold(program: QemuProgram, spec: MachineSpec, drives: readonly Drive[]): Promise<Waiting> {
  const l1 = await L1.start({ program, spec, memory: { kind: 'own' }, drives })
  return ready(l1)
}

/** Folder of the state that fits this machine; it may not exist yet. */
export function statePath(folder: string, program: QemuProgram, spec: MachineSpec): string {
  const key = createHash('sha256')
    .update(JSON.stringify([machineShape(), program, spec]))
    .digest('hex')
    .slice(0, 16)
  return join(folder, `state-${key}`)
}

/** Boots L1 and keeps it at `path`; does nothing harmful when another process does the same at once. */
export async function saveState(path: string, program: QemuProgram, spec: MachineSpec): Promise<void> {
  removeOldStates(dirname(path))
  mkdirSync(dirname(path), { recursive: true })
  const building = mkdtempSync(`${path}.new-`)
  try {
    const env = { BULKHEAD_STATE: join(building, 'devices') }
    const memory = { kind: 'save', path: join(building, 'ram') } as const
    const { l1, lines } = await ready(await L1.start({ program, spec, memory, drives: [], env }))
    try {
      await (await l1.port('job')).write(Buffer.from('warm\n'))
      await expectLine(l1, lines, 'warmed', WARM_LIMIT_MS)
      const monitor = await Monitor.open(await l1.port('monitor'))
      // The path travels in the environment: no quoting for QEMU and the shell to disagree on.
      await monitor.save('cat > "$BULKHEAD_STATE"')
    } finally {
      await l1.kill()
    }
    if (!existsSync(path)) renameSync(building, path)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
}

/** Starts the machine kept at `path` with the files of this job. */
export async function restoreState(
  path: string,
  program: QemuProgram,
  spec: MachineSpec,
  drives: readonly Drive[],
): Promise<Waiting> {
  const memory = { kind: 'restore', path: join(path, 'ram') } as const
  const l1 = await L1.start({ program, spec, memory, statePath: join(path, 'devices'), drives })
  try {
    const lines = (await l1.port('job')).lines()
    await (await Monitor.open(await l1.port('monitor'))).restore(STATE_FD)
    const now = new Date()
    utimesSync(path, now, now)
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

function removeOldStates(folder: string): void {
  if (!existsSync(folder)) return
  const oldest = Date.now() - KEEP_DAYS * 86_400_000
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (name.startsWith('state-') && statSync(path).mtimeMs < oldest) rmSync(path, { recursive: true, force: true })
  }
}

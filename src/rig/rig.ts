/**
 * The rig: runs commands on an emulated host (L1) that has a real KVM and a real IOMMU, where this host has none.
 * `startRig` runs this same program there; `startProgram` runs anything.
 */

import { rmSync } from 'node:fs'
import type { Log } from '../base/log.ts'
import type { Progress } from '../base/progress.ts'
import type { EmulatedDevice } from './emulated-devices.ts'
import type { Connection } from './job.ts'
import { prepareRig, type Rig } from './prepare.ts'
import { type Attachments, DRIVE_SLOTS, type MachineSpec, type SharedFolder } from './qemu.ts'
import { RigRun, type RunCommand } from './run.ts'
import { bootCold, restoreState, savedState, type Waiting } from './saved-state.ts'

export { RigRun, TRACE_PORT } from './run.ts'

/** What L1 itself needs beside its guest. */
const OWN_MEMORY_MIB = 700
/** Memory sizes of L1: few, so that few states are kept. It is touched lazily, so a large one costs little. */
const MEMORY_CLASSES_MIB = [1536, 3072, 8192]
/** The program comes first and has /dev/vdb. */
const FIRST_FILE_DRIVE = 'c'.charCodeAt(0)

/** Words, or what makes them from the paths of the files in L1. */
export type RigCommand = readonly string[] | ((paths: readonly string[]) => readonly string[])

/** How to run something in L1. */
export interface RigOptions {
  readonly log: Log
  readonly progress?: Progress
  /** Host files that L1 sees as block devices, in order; their size is rounded up to 512 bytes. Writable: by L1. */
  readonly files?: readonly (string | { readonly path: string; readonly writable: boolean })[]
  /** cpio archives (host files) that are unpacked into L1's root before the command runs. */
  readonly archives?: readonly string[]
  /** Gives L1 a network, through the emulator's user-mode one. */
  readonly network?: boolean
  /** Folders that L1 mounts at /folders/TAG; a machine with such boots, which takes seconds more. */
  readonly folders?: readonly SharedFolder[]
  /** PCI devices for guests; a machine with such boots as well. */
  readonly devices?: readonly EmulatedDevice[]
  /** The command's environment, given the files' paths in L1. */
  readonly environment?: (paths: readonly string[]) => Readonly<Record<string, string>>
  /** Memory of the guest that runs inside; L1 gets what it needs beside. */
  readonly guestMemoryMiB?: number
  readonly timeoutS?: number
  readonly abort?: AbortSignal
}

/**
 * Starts this program in L1 with the arguments `command`, which may depend on the paths of the files in L1.
 *
 * @example const run = await startRig({ command: ['version'], log }); for await (const bytes of run.stdout) ...
 */
export function startRig(options: RigOptions & { readonly command: RigCommand }): Promise<RigRun> {
  const { command } = options
  const words = (paths: readonly string[]) => (typeof command === 'function' ? command(paths) : command)
  return startProgram(paths => ['bun', '/bulkhead/cli.js', ...words(paths)], 'direct', options)
}

/** Starts any command in L1, which has busybox, and `bun` with this program at /bulkhead. */
export async function startProgram(argv: RigCommand, connection: Connection, options: RigOptions): Promise<RigRun> {
  const rig = await prepareRig(options)
  const { files = [], archives = [], folders = [], devices = [] } = options
  const drives = [rig.program, ...files, ...archives].map(file =>
    typeof file === 'string' ? { hostPath: file, writable: false } : { hostPath: file.path, writable: file.writable },
  )
  const names = [...files, ...archives].map((_, index) => `/dev/vd${String.fromCharCode(FIRST_FILE_DRIVE + index)}`)
  const paths = names.slice(0, files.length)
  const what: RunCommand = {
    command: typeof argv === 'function' ? argv(paths) : argv,
    env: options.environment?.(paths) ?? {},
    driveCount: drives.length,
    archives: names.slice(files.length),
    network: options.network === true,
    folders: folders.map(({ tag }) => tag),
    connection,
    ...(options.timeoutS !== undefined && { timeoutS: options.timeoutS }),
  }
  const spec = {
    ...rig.machine,
    memoryMiB: l1Memory(options.guestMemoryMiB ?? 0),
    cpus: L1_CPUS,
  }
  const begin = async (waiting: Waiting) => {
    try {
      return await RigRun.begin(waiting.l1, waiting.lines, what)
    } catch (error) {
      await waiting.l1.kill()
      throw error
    }
  }
  const attachments = { drives, folders, devices }
  const state = { rig, spec, attachments, log: options.log, abort: options.abort }
  return (await fromState(state, begin)) ?? (await begin(await bootCold(rig.qemu, spec, attachments, options.abort)))
}

interface StateUse {
  readonly rig: Rig
  readonly spec: MachineSpec
  readonly attachments: Attachments
  readonly log: Log
  readonly abort: AbortSignal | undefined
}

/** Runs in a restored machine; undefined when that fails and the machine must boot. */
async function fromState(use: StateUse, begin: (waiting: Waiting) => Promise<RigRun>): Promise<RigRun | undefined> {
  const { rig, spec, attachments, log, abort } = use
  const { drives, folders, devices } = attachments
  if (drives.length > DRIVE_SLOTS || folders.length > 0 || devices.length > 0) return undefined
  let path: string | undefined
  try {
    path = await savedState(rig.stateFolder, rig.qemu, spec, abort)
    log.phase('emulated host saved')
    return await begin(await restoreState(path, rig.qemu, spec, attachments, abort))
  } catch (error) {
    if (abort?.aborted) throw error
    // Whatever is wrong with the state, a boot does without it, and the next run makes a new one.
    log.warning(`the emulated host's saved state is of no use, so it boots: ${(error as Error).message}`)
    if (path !== undefined) rmSync(path, { recursive: true, force: true })
    return undefined
  }
}

/** L1's memory for a guest's. */
export function l1Memory(guestMemoryMiB: number): number {
  const needed = guestMemoryMiB + OWN_MEMORY_MIB
  const largest = MEMORY_CLASSES_MIB.at(-1) as number
  return MEMORY_CLASSES_MIB.find(size => size >= needed) ?? Math.ceil(needed / largest) * largest
}

/**
 * L1's CPUs, one for every guest. Two were tried: guests of two and four vCPUs started in 7.2 and 6.7 s in place of 8.1
 * and 9.7, but once the emulator ended without a word while a guest of 16 vCPUs booted.
 */
const L1_CPUS = 1

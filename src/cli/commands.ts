/** The commands by name; what each needs is loaded when it is called. */
import type { Options } from './arguments.ts'

/** A status; `hasty`: who ended the command does not want to wait for a reader of its output that has stopped reading. */
export type Result = number | { readonly status: number; readonly hasty: boolean }

/** A command. */
export interface Command {
  readonly usage: string
  readonly summary: string
  /** Its options, for help texts. */
  readonly options: () => Promise<Options>
  readonly run: (words: readonly string[]) => Promise<Result>
}

const NONE = async (): Promise<Options> => ({})
const instances = () => import('./instance-commands.ts')

/** In the order in which `help` shows them. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  run: {
    usage: 'run [OPTIONS] [-- COMMAND...]',
    summary: 'run a guest: a console, or one command and its exit status',
    options: async () => (await import('./run-options.ts')).RUN_OPTIONS,
    run: async words => (await import('./run.ts')).run(words),
  },
  list: {
    usage: 'list [--json]',
    summary: 'list the running instances',
    options: async () => (await instances()).LIST_OPTIONS,
    run: async words => (await instances()).list(words),
  },
  stop: {
    usage: 'stop NAME... | -a [--powerdown [--timeout S]]',
    summary: 'end instances',
    options: async () => (await instances()).STOP_OPTIONS,
    run: async words => (await instances()).stop(words),
  },
  pause: {
    usage: 'pause NAME... | -a',
    summary: 'hold the vCPUs of instances',
    options: async () => (await instances()).PAUSE_OPTIONS,
    run: async words => (await instances()).pause(words),
  },
  resume: {
    usage: 'resume NAME... | -a',
    summary: 'let paused instances go on',
    options: async () => (await instances()).PAUSE_OPTIONS,
    run: async words => (await instances()).resume(words),
  },
  stat: {
    usage: 'stat NAME... | -a [--json]',
    summary: 'show what instances have done',
    options: async () => (await instances()).STAT_OPTIONS,
    run: async words => (await instances()).stat(words),
  },
  balloon: {
    usage: 'balloon NAME [SIZE]',
    summary: 'leave a guest SIZE of its memory (run it with --balloon), or show what it has',
    options: async () => (await import('./balloon.ts')).BALLOON_OPTIONS,
    run: async words => (await import('./balloon.ts')).balloon(words),
  },
  debug: {
    usage: 'debug NAME [OPTIONS]',
    summary: "show a vCPU's registers, dump memory, access a device's registers, send an NMI or a SysRq key",
    options: async () => (await import('./debug.ts')).DEBUG_OPTIONS,
    run: async words => (await import('./debug.ts')).debug(words),
  },
  iommu: {
    usage: 'iommu list|stat|dump|trace|fault NAME [OPTIONS] | iommu report FILE [--html OUT] [--json]',
    summary: "look into a guest's IOMMU, make a fault, or report what a trace tells",
    options: async () => (await import('./iommu.ts')).IOMMU_OPTIONS,
    run: async words => (await import('./iommu.ts')).iommu(words),
  },
  vfio: {
    usage: 'vfio status [ADDRESS...] [--json] | vfio bind|unbind ADDRESS... [--group] [--force]',
    summary: "show the host's PCI devices, or give some to vfio-pci (for run --vfio) and back to their drivers",
    options: async () => (await import('./vfio.ts')).VFIO_OPTIONS,
    run: async words => (await import('./vfio.ts')).vfio(words),
  },
  doctor: {
    usage: 'doctor [--json]',
    summary: 'say what this host can do, and what to do about the rest',
    options: async () => (await import('./doctor.ts')).DOCTOR_OPTIONS,
    run: async words => (await import('./doctor.ts')).doctor(words),
  },
  rig: {
    usage: 'rig shell [OPTIONS] | rig run [OPTIONS] -- COMMAND...',
    summary: 'a shell, or a command, in the emulated host',
    options: async () => (await import('./rig-commands.ts')).RIG_OPTIONS,
    run: async words => (await import('./rig-commands.ts')).rig(words),
  },
  setup: {
    usage: 'setup [--host auto|kvm|rig]',
    summary: 'fetch the default guest (and the rig where it is needed) ahead of time',
    options: async () => (await import('./setup.ts')).SETUP_OPTIONS,
    run: async words => (await import('./setup.ts')).setup(words),
  },
  version: {
    usage: 'version',
    summary: 'show the version',
    options: NONE,
    run: async words => (await import('./help.ts')).version(words),
  },
  help: {
    usage: 'help [COMMAND]',
    summary: 'show the commands, or the options of one',
    options: NONE,
    run: async words => (await import('./help.ts')).help(words),
  },
}

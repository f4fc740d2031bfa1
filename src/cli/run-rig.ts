/** Runs a guest inside the rig: the same `run` on the emulated host, with its streams and its control socket here. */
import type { Log } from '../base/log.ts'
import { ControlServer } from '../control/server.ts'
import { TraceFile } from '../machine/iommu-trace-file.ts'
import { type RigRun, startRig, TRACE_PORT } from '../rig/rig.ts'
import { rigDevices } from './rig-devices.ts'
import { RigRelay } from './rig-relay.ts'
import type { GuestFiles } from './run.ts'
import type { RunRequest } from './run-options.ts'
import { pump } from './session.ts'
import { ENDING_SIGNALS, type End, SIGPIPE } from './status.ts'
import { streamWriter } from './streams.ts'
import { guestEscapes, type TerminalSize, terminalSize, watchTerminalSize, writeMessage } from './terminal.ts'

/** What the rig's run needs to know besides its request. */
export interface RigRunOptions {
  readonly log: Log
  /** The user's terminal is raw and belongs to the guest. */
  readonly ownsTerminal: boolean
}

/** Runs the guest to its end. */
export async function runInRig(request: RunRequest, files: GuestFiles, options: RigRunOptions): Promise<End> {
  const { log, ownsTerminal } = options
  const interruption = Promise.withResolvers<End>()
  const abort = new AbortController()
  const interrupt = (number: number) => {
    interruption.resolve({ status: 128 + number, interrupted: true })
    abort.abort()
  }
  const handlers = Object.entries(ENDING_SIGNALS).map(([signal, number]) => [signal, () => interrupt(number)] as const)
  for (const [signal, handle] of handlers) process.on(signal, handle)
  const relay = new RigRelay(request)
  const server = await ControlServer.listen(request.name, (method, params) => relay.request(method, params))
  const bootFiles = [files.kernel, ...(files.initrd === undefined ? [] : [files.initrd])]
  await using opened = new AsyncDisposableStack()
  try {
    const { traceFile } = request.iommu ?? {}
    const trace = traceFile === undefined ? undefined : TraceFile.create(traceFile, message => log.warning(message))
    if (trace !== undefined) opened.use(trace)
    const devices = await rigDevices(request.devices)
    opened.use(devices)
    const started = startRig({
      command: paths => innerCommand(request, devices.words(paths.slice(bootFiles.length))),
      files: [...bootFiles, ...devices.files],
      archives: devices.archives,
      folders: devices.folders,
      devices: devices.emulated,
      network: devices.needsNetwork,
      environment: paths => innerEnvironment(files, paths, ownsTerminal),
      guestMemoryMiB: request.memoryMiB,
      log,
      abort: abort.signal,
    })
    const run = await Promise.race([started, interruption.promise])
    if (!('stdout' in run)) {
      // It may come up yet.
      await started.then(
        late => late.kill(),
        () => {},
      )
      return run
    }
    log.phase('rig ready')
    try {
      relay.connect(run)
      const onClosed = () => interrupt(SIGPIPE)
      const finished = connectStreams(run, relay, { ownsTerminal, trace, onClosed })
      return await Promise.race([finished, interruption.promise])
    } finally {
      await run.kill()
    }
  } finally {
    server.close()
    for (const [signal, handle] of handlers) process.off(signal, handle)
  }
}

/** The command line of the inner run. Its kernel is the first drive, and with it the options are those given here. */
function innerCommand(request: RunRequest, devices: readonly string[]): readonly string[] {
  const words = ['run', '--host', 'kvm', '--name', request.name, '--loglevel', request.logLevel]
  words.push('--mem', String(request.memoryMiB), '--cpus', String(request.cpus))
  if (request.kernel !== undefined) words.push('--kernel', '/dev/vdc')
  if (request.initrd !== undefined) words.push('--initrd', '/dev/vdd')
  if (request.params !== '') words.push(`--params=${request.params}`)
  if (request.protocol !== undefined) words.push('--protocol', request.protocol)
  if (request.timeoutMs !== undefined) words.push('--timeout', String(request.timeoutMs / 1000))
  if (request.reboot) words.push('--reboot')
  words.push('--console', request.console, ...devices)
  if (request.rootPorts) words.push('--root-ports')
  if (request.pciBridge) words.push('--pci-bridge')
  if (request.packedRings) words.push('--packed')
  if (request.iommu !== undefined) {
    const { words: iommu, traceFile, check } = request.iommu
    words.push('--iommu', iommu, ...(traceFile === undefined ? [] : ['--iommu-trace', TRACE_PORT]))
    if (check) words.push('--iommu-check')
  }
  if (request.command !== undefined) words.push('--', ...request.command)
  return words
}

function innerEnvironment(
  files: GuestFiles,
  [kernel, initrd]: readonly string[],
  ownsTerminal: boolean,
): Readonly<Record<string, string>> {
  const guest = { kernel, initrd, params: files.defaultParams }
  const { TERM } = process.env
  return {
    ...(files.defaultParams === undefined ? {} : { BULKHEAD_GUEST: JSON.stringify(guest) }),
    ...(ownsTerminal ? { BULKHEAD_TERMINAL: JSON.stringify(terminalSize()) } : {}),
    ...(TERM === undefined ? {} : { TERM }),
  }
}

interface Streams {
  readonly ownsTerminal: boolean
  readonly trace: TraceFile | undefined
  /** Nobody takes the output any more. */
  readonly onClosed: () => void
}

/** Passes the streams both ways; resolves with the inner run's status after the last of its output. */
async function connectStreams(run: RigRun, relay: RigRelay, streams: Streams): Promise<End> {
  const { ownsTerminal, trace, onClosed } = streams
  const guest = {
    stop: () => void relay.request('stop', {}).catch(() => {}),
    sendBreak: () => void relay.request('break', {}).catch(() => {}),
  }
  const filter = guestEscapes(guest, text => void process.stderr.write(text))
  const onResize = (size: TerminalSize) => void relay.request('resize', { ...size }).catch(() => {})
  using _watch = ownsTerminal ? watchTerminalSize(onResize) : undefined
  void pump(bytes => run.stdin(ownsTerminal ? filter.filter(bytes) : bytes)).then(() => run.stdin(null))
  const pass = async (from: AsyncIterable<Uint8Array>, to: NodeJS.WriteStream) => {
    const write = streamWriter(to, onClosed)
    for await (const bytes of from) await write(bytes)
  }
  await Promise.all([
    pass(run.stdout, process.stdout),
    ownsTerminal ? passMessages(run.stderr) : pass(run.stderr, process.stderr),
    ...(trace === undefined ? [] : [passTrace(run.trace, trace)]),
  ])
  // What went wrong has been said by the inner run, on its standard error.
  return { status: await run.exit }
}

async function passTrace(from: AsyncIterable<Uint8Array>, to: TraceFile): Promise<void> {
  for await (const bytes of from) to.write(bytes)
}

/** On a terminal the command's errors are not apart: what comes as errors are the inner run's messages. */
async function passMessages(from: AsyncIterable<Uint8Array>): Promise<void> {
  const decoder = new TextDecoder()
  for await (const bytes of from) writeMessage(decoder.decode(bytes, { stream: true }))
}

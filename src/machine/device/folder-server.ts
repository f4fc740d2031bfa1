/** virtiofsd behind a socket of its own, for another hypervisor: the emulated host's, which passes the folder on. */
import { spawn } from 'node:child_process'
import { LISTENER_FD } from '../../backend/vhost-user-program.ts'
import { virtiofsdCommands } from '../../backend/vhost-user-virtiofsd.ts'
import { HostError } from '../../base/errors.ts'
import { closeFd, setNonBlocking } from '../../host/fd.ts'
import { listenUnix } from '../../host/socket.ts'
import { checkFolder, type ShareConfig } from './share-config.ts'

/** A sandbox that cannot be set up shows within this time. */
const START_MS = 200
/** How long it may take to end. */
const END_MS = 1000
const MAX_OUTPUT = 1000

/** Serves the folder to the one who connects to `socket`, until it is disposed; throws `HostError`. */
export async function serveFolder(config: ShareConfig, socket: string): Promise<AsyncDisposable> {
  checkFolder(config.path)
  const program = config.program === undefined ? {} : { program: config.program }
  const commands = virtiofsdCommands({ folder: config.path, readOnly: config.readOnly === true, ...program })
  const listener = listenUnix(socket)
  // The program waits in accept(2) for QEMU.
  setNonBlocking(listener, false)
  try {
    let failure = ''
    for (const [name = '', ...words] of commands) {
      const child = spawn(name, words, {
        stdio: [
          'ignore',
          'ignore',
          'pipe',
          ...Array.from({ length: LISTENER_FD - 3 }, () => 'ignore' as const),
          listener,
        ],
        detached: true,
      })
      let output = ''
      child.stderr?.on('data', (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-MAX_OUTPUT)
      })
      const ended = new Promise<void>(resolve => {
        child.once('error', error => {
          output = error.message
          resolve()
        })
        child.once('exit', () => resolve())
      })
      const early = await Promise.race([ended.then(() => true), Bun.sleep(START_MS).then(() => false)])
      if (!early)
        return {
          [Symbol.asyncDispose]: async () => {
            child.kill('SIGTERM')
            const late = setTimeout(() => child.kill('SIGKILL'), END_MS)
            await ended
            clearTimeout(late)
          },
        }
      failure = output.trim()
    }
    throw new HostError(`sharing ${config.path} failed: ${failure}`)
  } finally {
    closeFd(listener)
  }
}

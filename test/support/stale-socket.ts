/** Unix sockets whose process died without tidying up. */
import { spawnSync } from 'node:child_process'

/** Leaves a socket file at `path` that nobody listens on. */
export function leaveStaleSocket(path: string): void {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`
  const result = spawnSync(process.execPath, ['-e', script])
  if (result.signal !== 'SIGKILL') throw new Error(`the listener did not die as planned: ${result.stderr}`)
}

/** A TCP server on the loopback, in a process of its own: sends one file to each client and closes. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { firstLine } from './first-line.ts'

export interface FileServer extends AsyncDisposable {
  readonly port: number
}

/** Serves the file at `path`. */
export async function fileServer(path: string): Promise<FileServer> {
  const child = spawn(process.execPath, [import.meta.filename, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = Number(await firstLine(child.stdout))
  return {
    port,
    async [Symbol.asyncDispose]() {
      const exited = new Promise(resolve => child.on('exit', resolve))
      child.kill('SIGKILL')
      await exited
    },
  }
}

if (import.meta.main) {
  const content = readFileSync(process.argv[2] as string)
  const server = createServer(socket => void socket.on('error', () => {}).end(content))
  server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
}

/** The control protocol over a pair of pipes: inside the rig, they lead to the outer instance. */
import { closeSync, openSync } from 'node:fs'
import { answerLines, type ControlHandler } from './server.ts'

/** Answers requests that come over the pipe `path.in` through `path.out`, until the result is disposed. */
export function serveChannel(path: string, handler: ControlHandler): Disposable {
  // Opening waits for the other end, which the rig's init opens before it starts us.
  const input = openSync(`${path}.in`, 'r')
  const output = openSync(`${path}.out`, 'w')
  const writer = Bun.file(output).writer()
  const lines = answerLines(handler, line => {
    writer.write(line)
    void writer.flush()
  })
  void (async () => {
    for await (const chunk of Bun.file(input).stream()) lines.push(chunk)
  })()
  return {
    [Symbol.dispose]: () => {
      closeSync(input)
      closeSync(output)
    },
  }
}

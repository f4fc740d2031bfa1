/** The first line that a child process writes. */
import type { Readable } from 'node:stream'

export async function firstLine(stream: Readable): Promise<string> {
  let text = ''
  for await (const chunk of stream) {
    text += String(chunk)
    if (text.includes('\n')) break
  }
  return text.split('\n')[0] as string
}

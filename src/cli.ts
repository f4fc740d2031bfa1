#!/usr/bin/env bun
/** The command line: arguments in, exit status out. */
import { BadInput, firstError, HostError, KvmUnusable } from './base/errors.ts'
import { COMMANDS, type Result } from './cli/commands.ts'
import { Status } from './cli/status.ts'

async function main(words: readonly string[]): Promise<Result> {
  const [first = 'help', ...rest] = words
  const alias: Readonly<Record<string, string>> = { '--help': 'help', '-h': 'help', '--version': 'version' }
  const name = alias[first] ?? first
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) throw new BadInput(`there is no command "${first}": see bulkhead help`)
  const own = rest.slice(0, rest.indexOf('--') < 0 ? rest.length : rest.indexOf('--'))
  if (own.includes('--help') || own.includes('-h')) return (await COMMANDS['help']?.run([name])) ?? Status.ok
  return command.run(rest)
}

async function guarded(words: readonly string[]): Promise<Result> {
  try {
    return await main(words)
  } catch (caught) {
    const error = firstError(caught)
    if (error instanceof BadInput || error instanceof HostError) {
      process.stderr.write(`bulkhead: ${error instanceof BadInput ? onOneLine(error.message) : error.message}\n`)
      return error instanceof BadInput || error instanceof KvmUnusable ? Status.usage : Status.failure
    }
    process.stderr.write(`bulkhead: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return Status.failure
  }
}

/** What the user typed may hold anything; a sentence that repeats it stays one line and moves no cursor. */
function onOneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, character => JSON.stringify(character).slice(1, -1))
}

/** Waits until what was written is out: an exit does not. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => {
    stream.once('error', () => resolve())
    stream.write('', () => resolve())
  })
}

const HASTY_MS = 500

const result = await guarded(process.argv.slice(2))
const { status, hasty } = typeof result === 'number' ? { status: result, hasty: false } : result
const out = Promise.all([drained(process.stdout), drained(process.stderr)])
await (hasty ? Promise.race([out, Bun.sleep(HASTY_MS)]) : out)
process.exit(status)

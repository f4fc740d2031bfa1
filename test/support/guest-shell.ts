/** A guest, or the emulated host, that runs shell commands one by one while a test looks at it from outside. */
import type { CliResult, CliRun, Place } from './bulkhead.ts'
import { BOOT_LIMIT_MS, factsOf, startGuest } from './linux-guest.ts'

/** Each line is a command in base64, so that it may have several lines; its output is between two marks. */
const LOOP = `
  number=0
  echo "shell is ready."
  while read -r line; do
    echo "begin $number:"
    eval "$(echo $line | base64 -d)" </dev/null
    echo "end $number."
    number=$((number + 1))
  done
`
const LIMIT_MS = 4 * BOOT_LIMIT_MS

/** A shell script that takes commands; `prelude` runs first, and its functions are there for them. */
export function commandLoop(prelude: string): string {
  return `${prelude}\n${LOOP}`
}

/**
 * See above.
 *
 * @example
 * const guest = await GuestShell.start(place, ['--name', 'guest', '--rng'], prelude)
 * await guest.facts('echo "release: $(uname -r)"') // { release: '6.12...' }
 * await guest.end()
 */
export class GuestShell {
  private count = 0

  private constructor(readonly process: CliRun) {}

  /** Boots; `prelude` runs first, and its functions are there for the commands. */
  static start(place: Place, words: readonly string[], prelude: string): Promise<GuestShell> {
    const all = [...words, '--', 'sh', '-c', commandLoop(prelude)]
    return GuestShell.attach(startGuest(place, all, { stdin: null, timeoutMs: LIMIT_MS }))
  }

  /** Gives commands to a `commandLoop` that was started elsewhere, its input left open. */
  static async attach(process: CliRun): Promise<GuestShell> {
    const shell = new GuestShell(process)
    // Whoever waits for the guest hears of its end; a test that ended before is not concerned.
    shell.process.result.catch(() => {})
    await shell.process.saw('shell is ready.')
    return shell
  }

  /** What a command writes to its standard output. */
  async output(command: string): Promise<string> {
    const number = this.count++
    this.process.type(`${Buffer.from(command).toString('base64')}\n`)
    return await this.process.sawAfter(`begin ${number}:\n`, `end ${number}.`)
  }

  /** Its lines `name: value`. */
  async facts(command: string): Promise<Readonly<Record<string, string>>> {
    return factsOf(await this.output(command))
  }

  /** Ends the guest, as a command's end does. */
  end(): Promise<CliResult> {
    this.process.child.stdin?.end()
    return this.process.result
  }

  /** Ends it for sure, also when a test failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.process.child.kill('SIGTERM')
    await this.process.result.catch(() => {})
  }
}

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cliCommand, Place } from '../support/bulkhead.ts'
import { BOOT_LIMIT_MS, prepareGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { PseudoTerminal } from '../support/pseudo-terminal.ts'

const ROWS = 31
const COLS = 93
/** The shell's; what may follow it is a question for the cursor's place. */
const PROMPT = /~ # (?!.*\n)/
const ANSWER_LIMIT_MS = 90_000

let place: Place
let terminal: PseudoTerminal
beforeAll(prepareGuest, SETUP_LIMIT_MS)
beforeEach(() => {
  place = new Place({ ownCache: false })
})
afterEach(() => {
  terminal.close()
  place[Symbol.dispose]()
})

/** Starts a run on a terminal, and tells how the terminal was before. */
function onTerminal(words: readonly string[]): string {
  const command = cliCommand(['run', '--loglevel', 'error', ...words])
  terminal = new PseudoTerminal(command, place.environment({ TERM: 'xterm' }), ROWS, COLS)
  const before = terminal.settings()
  terminal.start()
  return before
}

describe('an interactive console', () => {
  it('is a shell on a raw terminal of the right size, also when that changes, and exit ends the run', async () => {
    const before = onTerminal([])
    await terminal.shows(PROMPT, BOOT_LIMIT_MS)
    expect(terminal.text).not.toContain('stty:')
    expect(terminal.isRaw).toBe(true)
    terminal.type('echo $((6*7))\r')
    await terminal.shows(/\r\n42\r\n/, ANSWER_LIMIT_MS)
    terminal.type('stty size; echo $TERM\r')
    await terminal.shows(new RegExp(`\r\n${ROWS} ${COLS}\r\nxterm\r\n`), ANSWER_LIMIT_MS)
    // The shell itself has other uses for the signal while it edits a line.
    terminal.type(`sh -c 'trap "stty size; exit" WINCH; echo re""ady; while :; do sleep 1; done'\r`)
    await terminal.shows(/\r\nready\r\n/, ANSWER_LIMIT_MS)
    terminal.resize(ROWS + 5, COLS + 20)
    await terminal.shows(new RegExp(`\r\n${ROWS + 5} ${COLS + 20}\r\n`), ANSWER_LIMIT_MS)
    // Ends of lines come as the guest makes them: none is added on the way.
    expect(terminal.text).not.toContain('\r\r')
    terminal.type("stty -opost; printf 'a\\nb'; stty opost\r")
    await terminal.shows(/\r\na\nb/, ANSWER_LIMIT_MS)
    terminal.type('exit\r')
    expect(await terminal.ended).toBe(0)
    expect(terminal.isRaw).toBe(false)
    expect(terminal.settings()).toBe(before)
    expect(place.leftovers()).toEqual([])
  })

  it('passes Ctrl-C to the guest, and ends by Ctrl-A X', async () => {
    const before = onTerminal([])
    await terminal.shows(PROMPT, BOOT_LIMIT_MS)
    // Only what the command writes tells that the shell has left its line editor, where Ctrl-C is a plain key.
    terminal.type('echo $((6*7)); sleep 1000\r')
    await terminal.shows(/\r\n42\r\n/, ANSWER_LIMIT_MS)
    terminal.type('\x03')
    await terminal.shows(/\r\n42\r\n\^C(?:\r\n)?~ # /, ANSWER_LIMIT_MS)
    terminal.type('\x01h')
    await terminal.shows(/Ctrl-A X {2}end the guest\r\n/, ANSWER_LIMIT_MS)
    terminal.type('\x01x')
    expect(await terminal.ended).toBe(0)
    expect(terminal.settings()).toBe(before)
    expect(place.leftovers()).toEqual([])
  })

  it('gives the terminal back when the run is ended by SIGTERM', async () => {
    const before = onTerminal([])
    await terminal.shows(PROMPT, BOOT_LIMIT_MS)
    expect(terminal.isRaw).toBe(true)
    terminal.signal('SIGTERM')
    expect(await terminal.ended).toBe(143)
    expect(terminal.settings()).toBe(before)
    expect(place.leftovers()).toEqual([])
  })
})

describe('a command on a terminal', () => {
  it.each([
    ['--console virtio', '/dev/hvc0'],
    ['--console serial', '/dev/ttyS1'],
    ['--iommu all', '/dev/hvc0'],
  ])(
    'with %s has a terminal of the right size, its status, and standard errors in the same place',
    async (words, tty) => {
      const script =
        'tty; test -t 0 && test -t 1 && test -t 2 && stty size; echo error >&2; read word; echo "got $word"; exit 5'
      const before = onTerminal([...words.split(' '), '--', 'sh', '-c', script])
      await terminal.shows(/error\r\n/, BOOT_LIMIT_MS)
      terminal.type('hello\r')
      expect(await terminal.ended).toBe(5)
      expect(terminal.text).toMatch(new RegExp(`${tty}\r\n${ROWS} ${COLS}\r\nerror\r\nhello\r\ngot hello\r\n$`))
      expect(terminal.settings()).toBe(before)
      expect(place.leftovers()).toEqual([])
    },
  )
})

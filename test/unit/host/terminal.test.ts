import { closeSync, constants, openSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { passOutputThrough, setTerminalSettings, terminalSettings } from '../../../src/host/terminal.ts'
import { PseudoTerminal } from '../../support/pseudo-terminal.ts'

let terminal: PseudoTerminal
let fd: number
beforeEach(() => {
  terminal = new PseudoTerminal(['true'], {}, 24, 80)
  fd = openSync(terminal.device, constants.O_RDWR | constants.O_NOCTTY)
})
afterEach(() => {
  closeSync(fd)
  terminal.close()
})

/** stty's second word: the output flags in hexadecimal. */
const outputFlags = () => Number.parseInt(terminal.settings().split(':')[1]!, 16)

describe('passOutputThrough', () => {
  it('ends the processing of output and changes nothing else', () => {
    const before = terminal.settings().split(':')
    passOutputThrough(fd)
    const after = terminal.settings().split(':')
    expect(Number.parseInt(before[1]!, 16) - outputFlags()).toBe(1)
    expect(after.toSpliced(1, 1)).toEqual(before.toSpliced(1, 1))
  })
})

describe('setTerminalSettings', () => {
  it('gives back what terminalSettings took', () => {
    const before = terminal.settings()
    const taken = terminalSettings(fd)
    passOutputThrough(fd)
    expect(terminal.settings()).not.toBe(before)
    setTerminalSettings(fd, taken)
    expect(terminal.settings()).toBe(before)
  })
})

describe('terminalSettings', () => {
  it('names the call where there is no terminal', () => {
    const file = openSync('/dev/null', 'r')
    expect(() => terminalSettings(file)).toThrow('tcgetattr failed: ENOTTY')
    closeSync(file)
  })
})

import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import {
  noPositionals,
  type Options,
  parseArguments,
  parseChoice,
  parseInteger,
  parseMemory,
  parseSeconds,
} from '../../../src/cli/arguments.ts'

const OPTIONS: Options = {
  kernel: { short: 'k', value: 'FILE', help: '' },
  verbose: { short: 'v', help: '' },
  quiet: { short: 'q', help: '' },
  share: { short: 's', value: 'DIR', help: '', multiple: true },
}
const parse = (...words: string[]) => parseArguments('run', words, OPTIONS)
const nothing = { values: {}, lists: {}, switches: new Set(), positionals: [], rest: undefined }

describe('parseArguments', () => {
  it.each([
    ['no words', [], {}],
    ['a short option and its value', ['-k', 'x'], { values: { kernel: 'x' } }],
    ['a short option with its value behind it', ['-kx=y'], { values: { kernel: 'x=y' } }],
    ['a long option and its value', ['--kernel', 'x'], { values: { kernel: 'x' } }],
    ['a long option with an equals sign', ['--kernel=a=b'], { values: { kernel: 'a=b' } }],
    ['an empty value', ['--kernel='], { values: { kernel: '' } }],
    ['a value with a dash behind an equals sign', ['--kernel=-v'], { values: { kernel: '-v' } }],
    ['a dash as a value', ['-k', '-'], { values: { kernel: '-' } }],
    ['switches in one word', ['-vq'], { switches: new Set(['verbose', 'quiet']) }],
    ['a switch and an option in one word', ['-vkx'], { values: { kernel: 'x' }, switches: new Set(['verbose']) }],
    ['an option that is given several times', ['-s', 'a', '--share=b'], { lists: { share: ['a', 'b'] } }],
    ['words that belong to no option', ['a', '-v', 'b'], { positionals: ['a', 'b'], switches: new Set(['verbose']) }],
    [
      'a command behind --',
      ['-v', '--', 'ls', '-k', '--'],
      { switches: new Set(['verbose']), rest: ['ls', '-k', '--'] },
    ],
    ['an empty command behind --', ['--'], { rest: [] }],
  ])('takes %s', (_, words, expected) => {
    expect(parse(...words)).toEqual({ ...nothing, ...expected })
  })

  it.each([
    [['--nope'], 'run has no option --nope: see bulkhead help run'],
    [['-z'], 'run has no option -z: see bulkhead help run'],
    [['-vz'], 'run has no option -z: see bulkhead help run'],
    [['--no-verbose'], 'run has no option --no-verbose: see bulkhead help run'],
    [['--constructor'], 'run has no option --constructor: see bulkhead help run'],
    [['--__proto__=1'], 'run has no option --__proto__: see bulkhead help run'],
    [['--kernel'], '--kernel needs a value (FILE): see bulkhead help run'],
    [['-k'], '-k needs a value (FILE): see bulkhead help run'],
    [['-k', '-v'], '-k needs a value (FILE): see bulkhead help run'],
    [['-k', '--', 'x'], '-k needs a value (FILE): see bulkhead help run'],
    [['--verbose=1'], '--verbose takes no value: see bulkhead help run'],
    [['-k', 'a', '--kernel=b'], '--kernel is given twice'],
    [['-v', '-v'], '-v is given twice'],
  ])('refuses %j in one sentence', (words, message) => {
    expect(() => parse(...words)).toThrow(new BadInput(message))
  })
})

describe('parseInteger', () => {
  it.each([
    ['1', 1],
    ['16', 16],
    ['007', 7],
  ])('takes %s', (text, value) => {
    expect(parseInteger('--cpus', text, 1, 16)).toBe(value)
  })

  it.each(['0', '17', '-1', '+1', '1.5', '1e1', '0x1', ' 1', '', 'one', '9'.repeat(400)])('refuses %j', text => {
    expect(() => parseInteger('--cpus', text, 1, 16)).toThrow(
      new BadInput(`--cpus must be a whole number from 1 to 16, not "${text}"`),
    )
  })
})

describe('parseMemory', () => {
  it.each([
    ['512', 512],
    ['512M', 512],
    ['512m', 512],
    ['4G', 4096],
    ['1t', 2 ** 20],
    ['0', 0],
  ])('takes %s for %d MiB', (text, value) => {
    expect(parseMemory('--mem', text)).toBe(value)
  })

  it.each(['', 'M', '-1', '1.5G', '4GB', '4K', '4 G', '0x10', '1e3', '9'.repeat(20), `${'9'.repeat(400)}G`])(
    'refuses %j',
    text => {
      expect(() => parseMemory('--mem', text)).toThrow(
        new BadInput(`--mem must be a size such as 512, 512M or 4G, not "${text}"`),
      )
    },
  )
})

describe('parseSeconds', () => {
  it.each([
    ['1', 1000],
    ['0.25', 250],
    ['10000000', 1e10],
  ])('takes %s for %d ms', (text, value) => {
    expect(parseSeconds('--timeout', text)).toBe(value)
  })

  it.each(['0', '0.0', '-1', '.5', '1.', '1s', 'Infinity', 'NaN', '', '10000001'])('refuses %j', text => {
    expect(() => parseSeconds('--timeout', text)).toThrow(
      new BadInput(`--timeout must be a number of seconds above 0, not "${text}"`),
    )
  })
})

describe('parseChoice', () => {
  it('takes a word of the list', () => {
    expect(parseChoice('--host', 'rig', ['auto', 'kvm', 'rig'])).toBe('rig')
  })

  it.each(['', 'RIG', 'ri', 'toString'])('refuses %j and names the list', text => {
    expect(() => parseChoice('--host', text, ['auto', 'kvm', 'rig'])).toThrow(
      new BadInput(`--host must be one of auto, kvm, rig, not "${text}"`),
    )
  })
})

describe('noPositionals', () => {
  it('refuses the first word that no option takes', () => {
    expect(() => noPositionals('list', ['a', 'b'])).toThrow(
      new BadInput('list does not take "a": see bulkhead help list'),
    )
    expect(() => noPositionals('list', [])).not.toThrow()
  })
})

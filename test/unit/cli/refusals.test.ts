import { describe, expect, it } from 'vitest'
import { refusalWith, tryCommand } from '../../support/refusal.ts'

/** Every refusal is this: one sentence, status 2, and no trace. */
const refuses = async (args: readonly string[], phrase: string) =>
  expect(await tryCommand(args)).toEqual(refusalWith(phrase))

describe('bulkhead', () => {
  it.each([
    [['nonsense'], 'there is no command "nonsense": see bulkhead help'],
    [['Run'], 'there is no command "Run"'],
    [['constructor'], 'there is no command "constructor"'],
    [['--nonsense'], 'there is no command "--nonsense"'],
    [[''], 'there is no command ""'],
    [['help', 'nonsense'], 'there is no command "nonsense"'],
    [['help', 'run', 'list'], 'help does not take "list"'],
    [['version', 'now'], 'version does not take "now"'],
    [['version', '--json'], 'version has no option --json'],
  ])('refuses %j', refuses)
})

describe('bulkhead run', () => {
  it.each([
    [['--nonsense'], 'run has no option --nonsense: see bulkhead help run'],
    [['-z', '--', 'true'], 'run has no option -z'],
    [['--no-reboot'], 'run has no option --no-reboot'],
    [['uname'], 'run does not take "uname"'],
    [['uname', '--', 'true'], 'run does not take "uname"'],
  ])('refuses %j, which means nothing', (words, phrase) => refuses(['run', ...words], phrase))

  it.each(['-k', '-i', '-p', '-m', '-c', '-n', '--kernel', '--host', '--protocol', '--timeout', '--loglevel'])(
    'refuses %s without its value, at the end and before a command',
    async option => {
      await refuses(['run', option], `${option} needs a value`)
      await refuses(['run', option, '--', 'true'], `${option} needs a value`)
      await refuses(['run', option, '--reboot'], `${option} needs a value`)
    },
  )

  it.each([
    ['-m', '64'],
    ['--cpus', '1'],
    ['-p', 'quiet'],
    ['--name', 'guest'],
    ['--host', 'rig'],
    ['--timeout', '1'],
  ])('refuses %s %s when it is given twice', (option, value) =>
    refuses(['run', option, value, option, value, '--', 'true'], `${option} is given twice`),
  )

  it.each(['0', '1', '-1', '1048577', '2T', '1.5G', 'lots', '', '0x100', '64K', '99999999999999999999'])(
    'refuses %j for memory',
    value => refuses(['run', `--mem=${value}`, '--', 'true'], '--mem must be'),
  )

  it.each(['0', '17', '-1', '1.5', 'two', '', '0x2', '1e1'])('refuses %j for vCPUs', value =>
    refuses(['run', `--cpus=${value}`, '--', 'true'], `--cpus must be a whole number from 1 to 16, not "${value}"`),
  )

  it.each(['0', '-3', '3s', '', 'NaN', 'Infinity', '10000001'])('refuses %j for a time limit', value =>
    refuses(['run', `--timeout=${value}`, '--', 'true'], '--timeout must be a number of seconds above 0'),
  )

  it.each([
    ['--host', 'qemu', 'auto, kvm, rig'],
    ['--host', '', 'auto, kvm, rig'],
    ['--protocol', 'uefi', 'linux64, pvh, multiboot'],
    ['--protocol', 'PVH', 'linux64, pvh, multiboot'],
    ['--loglevel', 'loud', 'error, warning, info, debug'],
  ])('refuses %s %j and names what there is', (option, value, choices) =>
    refuses(['run', `${option}=${value}`, '--', 'true'], `${option} must be one of ${choices}, not "${value}"`),
  )

  it.each(['a/b', '../guest', '.', '-', '.hidden', 'two words', 'line\nfeed', 'ä', ''])('refuses %j for a name', name =>
    refuses(['run', `--name=${name}`, '--', 'true'], 'is no instance name'),
  )

  it('refuses a name that does not fit a socket address', () =>
    refuses(['run', '--name', 'n'.repeat(100), '--', 'true'], 'is too long: use a shorter one'))

  it.each([
    [['--'], '-- is followed by the command to run in the guest'],
    [['-i', 'initrd'], '--initrd goes with --kernel'],
    [['-k', 'kernel', '-i', 'initrd', '--', 'true'], 'leave out --initrd, or the command'],
    [['-i', 'initrd', '--', 'true'], 'leave out --initrd, or the command'],
    [['--reboot', '--', 'true'], '--reboot goes with an interactive console'],
    [['--protocol', 'multiboot', '--', 'true'], 'leave out --protocol multiboot, or the command'],
    [['--reboot=yes'], '--reboot takes no value'],
  ])('refuses %j, which does not go together', (words, phrase) => refuses(['run', ...words], phrase))
})

describe.each(['stop', 'pause', 'resume', 'stat', 'debug'])('bulkhead %s', command => {
  it('refuses an instance that does not run', () => refuses([command, 'nobody'], 'no instance called "nobody" runs'))

  it('refuses a name that no instance can have', () => refuses([command, '../nobody'], 'is no instance name'))

  it('refuses to guess an instance', () => refuses([command], `${command} needs the name`))

  it('refuses an unknown option', () => refuses([command, '--nonsense', 'nobody'], `${command} has no option`))
})

describe('commands on instances', () => {
  it.each([
    [['list', 'all'], 'list does not take "all"'],
    [['list', '--all'], 'list has no option --all'],
    [['stop', '-a', 'guest'], 'stop takes names or --all, not both'],
    [['stop', 'guest', '--timeout', '1'], '--timeout goes with --powerdown'],
    [['stop', 'guest', '--powerdown', '--timeout', 'soon'], '--timeout must be a number of seconds'],
    [['stat', '--name'], '--name needs a value (NAME)'],
    [['debug', 'a', 'b'], 'debug needs the name of one instance'],
    [['debug', '-n', 'a', 'b'], 'debug needs the name of one instance'],
    [['debug', 'guest', '--virtual'], '--virtual goes with --memory'],
    [['debug', 'guest', '--vcpu', '-1'], '--vcpu needs a value'],
    [['debug', 'guest', '--vcpu=x'], '--vcpu must be a whole number'],
    [['debug', 'guest', '--memory', 'here'], '--memory must be an address and a size'],
    [['debug', 'guest', '--memory', '0x1000,'], "--memory's size must be a whole number"],
    [['debug', 'guest', '--memory', '0x1000,0'], "--memory's size must be a whole number"],
    [['debug', 'guest', '--memory', '0x1000,1048577'], "--memory's size must be a whole number"],
    [['debug', 'guest', '--mmio', 'here'], '--mmio must be an address, a size and perhaps a value'],
    [['debug', 'guest', '--mmio', '0x1000,4=here'], '--mmio must be an address, a size and perhaps a value'],
    [['debug', 'guest', '--mmio', '0x1000,4,4'], '--mmio must be an address, a size and perhaps a value'],
    [['debug', 'guest', '--mmio', '0x1000=1=2'], '--mmio must be an address, a size and perhaps a value'],
    [['debug', 'guest', '--mmio', '0x1000,9'], "--mmio's size must be a whole number"],
    [['debug', 'guest', '--memory', '0x1000,1,1'], '--memory must be an address and a size'],
    [['debug', 'guest', '--memory', '0x11112222333344445'], '--memory must be an address and a size'],
    [['debug', 'guest', '--sysrq', 'bb'], '--sysrq takes one of 0-9 and a-z, not "bb"'],
  ])('refuse %j', refuses)
})

describe('bulkhead rig', () => {
  it.each([
    [[], 'rig is followed by "shell" or "run"'],
    [['start'], 'rig is followed by "shell" or "run"'],
    [['run'], 'rig run needs a command: rig run -- COMMAND...'],
    [['run', '--'], 'rig run needs a command'],
    [['run', 'uname'], 'rig run does not take "uname": put the command behind --'],
    [['run', '-m', 'lots', '--', 'true'], '--mem must be a size'],
    [['run', '-m', '0', '--', 'true'], '--mem must be 1M to 1048576M'],
    [['run', '--timeout', '0', '--', 'true'], '--timeout must be a number of seconds above 0'],
    [['run', '--loglevel', 'loud', '--', 'true'], '--loglevel must be one of'],
    [['run', '--file', '/nonexistent,rw', '--', 'true'], '--file /nonexistent is no file'],
    [['run', '--file', '/etc/passwd/x', '--', 'true'], '--file /etc/passwd/x is no file'],
    [['run', '--file', '/', '--', 'true'], '--file / is no file'],
    [['run', '--kernel', 'x', '--', 'true'], 'rig has no option --kernel'],
    [['shell'], 'rig shell needs a terminal: use rig run -- COMMAND...'],
    [['shell', '--', 'sh'], 'rig shell takes no command'],
    [['shell', '--timeout', '1'], '--timeout goes with rig run'],
  ])('refuses %j', (words, phrase) => refuses(['rig', ...words], phrase))
})

describe('bulkhead setup', () => {
  it.each([
    [['now'], 'setup does not take "now"'],
    [['--host', 'qemu'], '--host must be one of auto, kvm, rig'],
    [['--loglevel', 'loud'], '--loglevel must be one of'],
    [['--kernel', 'x'], 'setup has no option --kernel'],
  ])('refuses %j', (words, phrase) => refuses(['setup', ...words], phrase))
})

/** The `help` and `version` commands. */
import { readFileSync } from 'node:fs'
import { BadInput } from '../base/errors.ts'
import { projectFile } from '../base/project.ts'
import { noPositionals, type Options, parseArguments } from './arguments.ts'
import { COMMANDS } from './commands.ts'

/** `bulkhead version`. */
export async function version(words: readonly string[]): Promise<number> {
  noPositionals('version', parseArguments('version', words, {}).positionals)
  const { version: number } = JSON.parse(readFileSync(projectFile('package.json'), 'utf8')) as { version: string }
  process.stdout.write(`bulkhead ${number}\n`)
  return 0
}

/** `bulkhead help [COMMAND]`. */
export async function help(words: readonly string[]): Promise<number> {
  const { positionals } = parseArguments('help', words, {})
  const [name] = positionals
  noPositionals('help', positionals.slice(1))
  process.stdout.write(name === undefined ? overview() : await details(name))
  return 0
}

function overview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map(name => name.length))
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}\n`)
  return `usage: bulkhead COMMAND ...\n\n${lines.join('')}\nbulkhead help COMMAND shows a command's options.\n`
}

async function details(name: string): Promise<string> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) throw new BadInput(`there is no command "${name}": see bulkhead help`)
  const options = optionLines(await command.options())
  return `usage: bulkhead ${command.usage}\n\n${command.summary}\n${options === '' ? '' : `\n${options}`}`
}

function optionLines(options: Options): string {
  const rows = Object.entries(options)
    .filter(([, option]) => option.hidden !== true)
    .map(([name, option]) => {
      const short = option.short === undefined ? '    ' : `-${option.short}, `
      const value = option.value === undefined ? '' : ` ${option.value}`
      return { left: `  ${short}--${name}${value}`, help: option.help }
    })
  const width = Math.max(0, ...rows.map(row => row.left.length))
  return rows.map(row => `${row.left.padEnd(width)}  ${row.help}\n`).join('')
}

/** Small C programs that print facts of the system's headers as `name value` lines. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why no C program that includes `header` can be built here; undefined where it can. */
export function missingCompiler(header: string): string | undefined {
  const result = spawnSync('gcc', ['-E', '-x', 'c', '-'], { input: `#include <${header}>\n`, encoding: 'utf8' })
  if (result.error !== undefined) return 'there is no gcc'
  return result.status === 0 ? undefined : `gcc does not find <${header}>`
}

/** Compiles and runs a program that prints the value of each expression; throws with the compiler's words. */
export function evaluateInC(headers: readonly string[], expressions: readonly string[]): ReadonlyMap<string, number> {
  const directory = mkdtempSync(join(tmpdir(), 'bulkhead-c-'))
  try {
    const source = join(directory, 'facts.c')
    const program = join(directory, 'facts')
    writeFileSync(source, programOf(headers, expressions))
    run('gcc', ['-Wall', '-Werror', '-o', program, source])
    const lines = run(program, []).trim().split('\n')
    return new Map(lines.map((line, index) => [expressions[index]!, Number(line)]))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function programOf(headers: readonly string[], expressions: readonly string[]): string {
  const includes = ['stdio.h', 'stddef.h', ...headers].map(header => `#include <${header}>`)
  const prints = expressions.map(expression => `  printf("%llu\\n", (unsigned long long)(${expression}));`)
  return [...includes, 'int main(void) {', ...prints, '  return 0;', '}', ''].join('\n')
}

function run(command: string, words: readonly string[]): string {
  const result = spawnSync(command, words, { encoding: 'utf8' })
  if (result.status !== 0) throw new Error(`${command} failed: ${result.stderr}`)
  return result.stdout
}

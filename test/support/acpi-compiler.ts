/** The ACPI reference compiler and disassembler (package acpica-tools), for tests that skip without it. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The reason a test gives when it skips. */
export const NO_IASL = 'iasl is not installed (Debian package acpica-tools)'

/** True if there is an iasl to run. */
export function hasIasl(): boolean {
  return spawnSync('iasl', ['-v']).status === 0
}

/** Release of iasl, such as 20200925; 0 without one. */
export function iaslRelease(): number {
  const { stdout } = spawnSync('iasl', ['-v'], { encoding: 'utf8' })
  return Number(/version (\d{8})/.exec(stdout ?? '')?.[1] ?? 0)
}

export interface IaslResult {
  readonly status: number | null
  /** Lines that speak of an error, a warning or a bad checksum. */
  readonly complaints: readonly string[]
  /** The file that it made. */
  readonly output: Uint8Array
}

/** Disassembles one table; a complaint may also stand in the text that it makes. */
export function disassemble(table: Uint8Array): IaslResult {
  const result = runIasl(['-d'], 'table.dat', table, 'table.dsl')
  const lines = new TextDecoder().decode(result.output).split('\n')
  return {
    ...result,
    complaints: [...result.complaints, ...lines.filter(line => /incorrect|invalid|unknown/i.test(line))],
  }
}

/** Compiles ASL. */
export function compile(source: Uint8Array): IaslResult {
  return runIasl(['-p', 'table'], 'table.asl', source, 'table.aml')
}

function runIasl(options: readonly string[], inputName: string, input: Uint8Array, outputName: string): IaslResult {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-iasl-'))
  try {
    writeFileSync(join(folder, inputName), input)
    const { status, stdout, stderr } = spawnSync('iasl', [...options, inputName], { cwd: folder, encoding: 'utf8' })
    const complaints = `${stdout}\n${stderr}`
      .split('\n')
      .filter(line => /error|warning|invalid|incorrect|unknown/i.test(line) && !/ 0 Errors, 0 Warnings/.test(line))
    return { status, complaints, output: new Uint8Array(readFileSync(join(folder, outputName))) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

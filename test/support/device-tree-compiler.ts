/** The device tree compiler (package device-tree-compiler), for tests that skip without it. */
import { spawnSync } from 'node:child_process'

/** The reason a test gives when it skips. */
export const NO_DTC = 'dtc is not installed (Debian package device-tree-compiler)'

/** True if there is a dtc to run. */
export function hasDtc(): boolean {
  return spawnSync('dtc', ['-v']).status === 0
}

export interface DtcResult {
  readonly status: number | null
  /** What it said on standard error: warnings of its checks. */
  readonly complaints: string
  readonly output: Uint8Array
}

/** A blob as source. */
export function decompile(blob: Uint8Array): DtcResult {
  return runDtc(['-I', 'dtb', '-O', 'dts', '-'], blob)
}

/** Source as a blob of version 17. */
export function compileTree(source: string): DtcResult {
  return runDtc(['-I', 'dts', '-O', 'dtb', '-'], new TextEncoder().encode(source))
}

function runDtc(options: readonly string[], input: Uint8Array): DtcResult {
  const { status, stdout, stderr } = spawnSync('dtc', options, { input })
  return { status, complaints: new TextDecoder().decode(stderr), output: new Uint8Array(stdout) }
}

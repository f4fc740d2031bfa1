/** Files that a run writes must not be those that it reads, nor each other: a trace in place of a disk, say. */
import { type Stats, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { BadInput } from '../base/errors.ts'
import type { RunRequest } from './run-options.ts'

/** What of a request is about files. */
type Files = Pick<RunRequest, 'kernel' | 'initrd' | 'devices' | 'iommu' | 'dump'>

/** An option and its file. */
interface Use {
  readonly option: string
  readonly path: string
}

/** Throws `BadInput`; touches none of them. */
export function checkOutputs({ kernel, initrd, devices, iommu, dump }: Files): void {
  const inputs = [
    ...use('--kernel', kernel),
    ...use('--initrd', initrd),
    ...devices.disks.flatMap(({ path }) => use('--disk', path)),
  ]
  const outputs = [...use('--iommu-trace', iommu?.traceFile), ...use('--dump-dtb', dump.deviceTree)]
  for (const [index, output] of outputs.entries()) {
    const other = [...inputs, ...outputs.slice(0, index)].find(({ path }) => isSame(path, output.path))
    if (other === undefined) continue
    const verb = inputs.includes(other) ? 'reads' : 'writes'
    throw new BadInput(`${output.option} ${output.path} is a file that ${other.option} ${verb}: choose another one`)
  }
}

function use(option: string, path: string | undefined): readonly Use[] {
  return path === undefined ? [] : [{ option, path }]
}

/** By whatever names; devices such as /dev/null may be used twice. */
function isSame(one: string, other: string): boolean {
  const [first, second] = [lookUp(one), lookUp(other)]
  if (first === undefined || second === undefined) return resolve(one) === resolve(other)
  return first.dev === second.dev && first.ino === second.ino && !first.isCharacterDevice()
}

function lookUp(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    // It is yet to be made, or opening it says what is wrong.
    return undefined
  }
}

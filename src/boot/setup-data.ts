/**
 * What a boot loader hands to Linux beyond the zero page: struct setup_data, Documentation/arch/x86/boot.rst
 * "setup_data". Here, a device tree. The kernel reserves the memory itself, and shows what is there in
 * /sys/kernel/boot_params/setup_data.
 */
import { assert } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { SETUP_DATA_GPA, SETUP_DATA_SIZE } from './low-memory.ts'
import type { BootInputs, Segment } from './plan.ts'

const SETUP_DTB = 2

const SetupData = layout('setup_data', 16, { next: 'u64', type: 'u32', len: 'u32' })

/** Where the list starts, and what of it goes to guest memory. */
export interface SetupDataList {
  /** gpa of the first item, 0 if there is none. */
  readonly gpa: number
  readonly segments: readonly Segment[]
}

/** The list for a kernel that is given `deviceTree`, or nothing. */
export function setupDataOf({ deviceTree }: Pick<BootInputs, 'deviceTree'>): SetupDataList {
  if (deviceTree === undefined) return { gpa: 0, segments: [] }
  const bytes = new Uint8Array(SetupData.size + deviceTree.length)
  assert(bytes.length <= SETUP_DATA_SIZE, 'the device tree fits its pages')
  const view = new DataView(bytes.buffer)
  view.setUint32(SetupData.offset.type, SETUP_DTB, true)
  view.setUint32(SetupData.offset.len, deviceTree.length, true)
  bytes.set(deviceTree, SetupData.size)
  return { gpa: SETUP_DATA_GPA, segments: [{ gpa: SETUP_DATA_GPA, bytes }] }
}

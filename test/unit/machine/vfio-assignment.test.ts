import { describe, expect, it } from 'vitest'
import { SysError } from '../../../src/base/errors.ts'
import { KVM_DEV_TYPE_VFIO, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD } from '../../../src/kvm/uapi.ts'
import type { Vm } from '../../../src/kvm/vm.ts'
import { assignGroups } from '../../../src/machine/vfio-assignment.ts'

/** A VM whose device logs what it is told, and refuses what `refuse` names. */
function machine(refuse?: 'device' | 'group') {
  const log: unknown[] = []
  const createDevice = (type: number) => {
    if (refuse === 'device') throw new SysError('KVM_CREATE_DEVICE', 19, 'ENODEV')
    log.push(['create', type])
    return {
      set: (group: number, attr: number, value: { readonly view: DataView }) => {
        if (refuse === 'group') throw new SysError('KVM_SET_DEVICE_ATTR', 9, 'EBADF')
        log.push(['set', group, attr, value.view.getInt32(0, true)])
      },
      [Symbol.dispose]: () => void log.push('close'),
    }
  }
  return { log, vm: { createDevice } as unknown as Pick<Vm, 'createDevice'> }
}

describe('assignGroups', () => {
  it('tells KVM of each group until it is disposed of', () => {
    const { log, vm } = machine()
    const assignment = assignGroups(vm, [5, 9], () => {})
    expect(log).toEqual([
      ['create', KVM_DEV_TYPE_VFIO],
      ['set', KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, 5],
      ['set', KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, 9],
    ])
    assignment[Symbol.dispose]()
    expect(log.at(-1)).toBe('close')
  })

  it.each([
    ['device', 'ENODEV'],
    ['group', 'EBADF'],
  ] as const)('goes on when KVM refuses a %s', (refuse, code) => {
    const lines: string[] = []
    using assignment = assignGroups(machine(refuse).vm, [5], line => lines.push(line))
    expect(assignment).toBeDefined()
    expect(lines).toEqual([expect.stringContaining(code)])
  })
})

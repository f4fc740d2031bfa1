import { describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { KvmRun, RunPage } from '../../../src/kvm/run-page.ts'
import * as k from '../../../src/kvm/uapi.ts'

const SIZE = 4096

/** A run page with `reason`, filled by `fill`. */
function page(reason: number, fill: (view: DataView) => void = () => {}) {
  const memory = new CBuffer(SIZE)
  memory.view.setUint32(KvmRun.exitReason, reason, true)
  fill(memory.view)
  return { memory, run: new RunPage(memory.pointer, SIZE) }
}

describe('RunPage.exit', () => {
  it('reads a port access', () => {
    const { run } = page(k.KVM_EXIT_IO, view => {
      view.setUint8(KvmRun.ioDirection, k.KVM_EXIT_IO_OUT)
      view.setUint8(KvmRun.ioSize, 2)
      view.setUint16(KvmRun.ioPort, 0xffff, true)
      view.setUint32(KvmRun.ioCount, 3, true)
    })
    expect(run.exit()).toEqual({ kind: 'io', write: true, port: 0xffff, size: 2, count: 3 })
  })

  it('reads an MMIO access above 4 GiB', () => {
    const { run } = page(k.KVM_EXIT_MMIO, view => {
      view.setBigUint64(KvmRun.mmioPhysAddr, 0x12_3456_7890n, true)
      view.setUint32(KvmRun.mmioLen, 8, true)
    })
    expect(run.exit()).toEqual({ kind: 'mmio', write: false, address: 0x12_3456_7890, size: 8 })
  })

  it('reads a failed entry', () => {
    const { run } = page(k.KVM_EXIT_FAIL_ENTRY, view => {
      view.setBigUint64(KvmRun.failEntryReason, 0x8000_0021n, true)
      view.setUint32(KvmRun.failEntryCpu, 5, true)
    })
    expect(run.exit()).toEqual({ kind: 'failEntry', reason: 0x8000_0021, cpu: 5 })
  })

  it.each([
    [2, 2],
    [16, 16],
    [1000, 16],
  ])('reads an internal error that claims %d words as %d', (claimed, read) => {
    const { run } = page(k.KVM_EXIT_INTERNAL_ERROR, view => {
      view.setUint32(KvmRun.internalSuberror, k.KVM_INTERNAL_ERROR_EMULATION, true)
      view.setUint32(KvmRun.internalNdata, claimed, true)
      for (let i = 0; i < 20; i++) view.setBigUint64(KvmRun.internalData + 8 * i, BigInt(i + 1), true)
    })
    const data = Array.from({ length: read }, (_, i) => i + 1)
    expect(run.exit()).toEqual({ kind: 'internalError', suberror: 1, data })
  })

  it('reads the rest', () => {
    expect(page(k.KVM_EXIT_SHUTDOWN).run.exit()).toEqual({ kind: 'shutdown' })
    expect(page(k.KVM_EXIT_HLT).run.exit()).toEqual({ kind: 'other', reason: k.KVM_EXIT_HLT })
    const event = page(k.KVM_EXIT_SYSTEM_EVENT, view => view.setUint32(KvmRun.systemEventType, 3, true))
    expect(event.run.exit()).toEqual({ kind: 'systemEvent', type: 3 })
  })
})

describe('RunPage', () => {
  it.each([
    [1, 0x44, [0x44, 0xee, 0xee, 0xee]],
    [2, 0x3344, [0x44, 0x33, 0xee, 0xee]],
    [4, 0x1122_3344, [0x44, 0x33, 0x22, 0x11]],
  ])('sets and gets %d bytes and no more', (size, value, bytes) => {
    const { run, memory } = page(0, view => view.setUint32(64, 0xeeee_eeee, true))
    run.setValue(64, size, 0x1122_3344)
    expect(run.getValue(64, size)).toBe(value)
    expect([...memory.bytes.subarray(64, 68)]).toEqual(bytes)
  })

  it('sets immediate_exit to 1 and back', () => {
    const { run, memory } = page(0)
    run.immediateExit = true
    expect(memory.bytes[1]).toBe(1)
    run.immediateExit = false
    expect(memory.bytes[1]).toBe(0)
  })
})

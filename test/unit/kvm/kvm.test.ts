import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { HostError } from '../../../src/base/errors.ts'
import { kvmHost } from '../../../src/kvm/host-kind.ts'
import { Kvm } from '../../../src/kvm/kvm.ts'
import { descriptors } from '../../support/process-usage.ts'
import { describeUnless } from '../../support/skip.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-kvm-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

function cpuinfo(flags: string): string {
  const path = join(DIRECTORY, 'cpuinfo')
  writeFileSync(path, `processor\t: 0\nmodel name\t: vmx-like\nflags\t\t: ${flags}\n\nprocessor\t: 1\n`)
  return path
}

describe('Kvm.open', () => {
  it('says what to do where there is no device', () => {
    const open = () => Kvm.open('/nowhere/kvm')
    expect(open).toThrow(HostError)
    expect(open).toThrow('cannot open /nowhere/kvm (ENOENT): load the kvm_intel or kvm_amd module')
  })

  it('names the call that a device which is no KVM refuses, and closes it', () => {
    const before = descriptors()
    expect(() => Kvm.open('/dev/null')).toThrow('KVM_GET_API_VERSION failed: ENOTTY')
    expect(descriptors()).toEqual(before)
  })
})

describe('kvmHost', () => {
  it('finds no KVM where the device cannot be opened', () => {
    expect(kvmHost('/nowhere/kvm')).toEqual({
      runsLinux: false,
      opens: false,
      reason: '/nowhere/kvm cannot be used (ENOENT)',
    })
  })
})

describeUnless(process.arch === 'x64' ? undefined : 'the processor flags are those of x86', 'kvmHost on x86-64', () => {
  it.each(['fpu vmx sse', 'svm', 'fpu svm'])('runs Linux on a processor with the flags "%s"', flags => {
    expect(kvmHost('/dev/null', cpuinfo(flags))).toEqual({ runsLinux: true })
  })

  it.each(['fpu sse', '', 'fpu vmx_like xsvm'])(
    'takes KVM on one with the flags "%s" for one by page tables',
    flags => {
      expect(kvmHost('/dev/null', cpuinfo(flags))).toEqual({
        runsLinux: false,
        opens: true,
        reason: 'its KVM works by page tables, without VMX or SVM',
      })
    },
  )
})

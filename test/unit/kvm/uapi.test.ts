import { describe, expect, it } from 'vitest'
import { KvmRun } from '../../../src/kvm/run-page.ts'
import * as structs from '../../../src/kvm/structs.ts'
import * as uapi from '../../../src/kvm/uapi.ts'
import { evaluateInC, missingCompiler } from '../../support/c-program.ts'
import { describeUnless } from '../../support/skip.ts'

const HEADER = 'linux/kvm.h'

/** The ioctl numbers of x86-64; the rest of uapi.ts is plain numbers, which the headers check. */
const IOCTLS = {
  KVM_GET_API_VERSION: 0xae00,
  KVM_CREATE_VM: 0xae01,
  KVM_CHECK_EXTENSION: 0xae03,
  KVM_GET_VCPU_MMAP_SIZE: 0xae04,
  KVM_GET_SUPPORTED_CPUID: 0xc008ae05,
  KVM_CREATE_VCPU: 0xae41,
  KVM_SET_USER_MEMORY_REGION: 0x4020ae46,
  KVM_SET_TSS_ADDR: 0xae47,
  KVM_SET_IDENTITY_MAP_ADDR: 0x4008ae48,
  KVM_CREATE_IRQCHIP: 0xae60,
  KVM_IRQ_LINE: 0x4008ae61,
  KVM_SET_GSI_ROUTING: 0x4008ae6a,
  KVM_IRQFD: 0x4020ae76,
  KVM_CREATE_PIT2: 0x4040ae77,
  KVM_IOEVENTFD: 0x4040ae79,
  KVM_SIGNAL_MSI: 0x4020aea5,
  KVM_CREATE_DEVICE: 0xc00caee0,
  KVM_RUN: 0xae80,
  KVM_GET_REGS: 0x8090ae81,
  KVM_SET_REGS: 0x4090ae82,
  KVM_GET_SREGS: 0x8138ae83,
  KVM_SET_SREGS: 0x4138ae84,
  KVM_TRANSLATE: 0xc018ae85,
  KVM_GET_MSRS: 0xc008ae88,
  KVM_SET_MSRS: 0x4008ae89,
  KVM_GET_FPU: 0x81a0ae8c,
  KVM_SET_FPU: 0x41a0ae8d,
  KVM_GET_LAPIC: 0x8400ae8e,
  KVM_SET_LAPIC: 0x4400ae8f,
  KVM_SET_CPUID2: 0x4008ae90,
  KVM_GET_MP_STATE: 0x8004ae98,
  KVM_SET_MP_STATE: 0x4004ae99,
  KVM_NMI: 0xae9a,
  KVM_KVMCLOCK_CTRL: 0xaead,
  KVM_SET_DEVICE_ATTR: 0x4018aee1,
  KVM_GET_DEVICE_ATTR: 0x4018aee2,
  KVM_HAS_DEVICE_ATTR: 0x4018aee3,
} as const

/** Members of struct kvm_run behind the names in KvmRun. */
const RUN_MEMBERS: Readonly<Record<keyof typeof KvmRun, string>> = {
  immediateExit: 'immediate_exit',
  exitReason: 'exit_reason',
  ioDirection: 'io.direction',
  ioSize: 'io.size',
  ioPort: 'io.port',
  ioCount: 'io.count',
  ioDataOffset: 'io.data_offset',
  mmioPhysAddr: 'mmio.phys_addr',
  mmioData: 'mmio.data',
  mmioLen: 'mmio.len',
  mmioIsWrite: 'mmio.is_write',
  failEntryReason: 'fail_entry.hardware_entry_failure_reason',
  failEntryCpu: 'fail_entry.cpu',
  internalSuberror: 'internal.suberror',
  internalNdata: 'internal.ndata',
  internalData: 'internal.data',
  systemEventType: 'system_event.type',
}

const NUMBERS: Readonly<Record<string, number>> = { ...uapi }

/** The structs of other architectures differ. */
const MISSING = process.arch === 'x64' ? missingCompiler(HEADER) : 'these are the x86-64 numbers'

const snake = (name: string) => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)

describe('uapi', () => {
  it.each(Object.entries(IOCTLS))('%s is its number', (name, number) => {
    expect(NUMBERS[name]).toBe(number)
  })

  it('has no ioctl that is not pinned', () => {
    const ioctls = Object.entries(NUMBERS).filter(([, value]) => (value & 0xff00) === 0xae00)
    expect(ioctls.map(([name]) => name).filter(name => !Object.hasOwn(IOCTLS, name))).toEqual([])
  })
})

describeUnless(MISSING, 'the kernel headers', () => {
  it('agree with every number in uapi.ts', () => {
    const ours = Object.entries(NUMBERS)
    const theirs = evaluateInC([HEADER], Object.keys(NUMBERS))
    expect(ours.length).toBeGreaterThan(80)
    expect(Object.fromEntries(theirs)).toEqual(Object.fromEntries(ours))
  })

  it('agree with the size of every struct and the offset of every member', () => {
    const ours = Object.entries(structs).flatMap(([name, { size, offset }]) => [
      [`sizeof(struct ${name})`, size] as const,
      ...Object.entries(offset).map(([field, at]) => [`offsetof(struct ${name}, ${snake(field)})`, at] as const),
    ])
    const theirs = evaluateInC(
      [HEADER],
      ours.map(([expression]) => expression),
    )
    expect(ours.length).toBeGreaterThan(100)
    expect(Object.fromEntries(theirs)).toEqual(Object.fromEntries(ours))
  })

  it('agree with the offsets in the run page', () => {
    const ours = Object.entries(KvmRun).map(
      ([name, at]) => [`offsetof(struct kvm_run, ${RUN_MEMBERS[name as keyof typeof KvmRun]})`, at] as const,
    )
    const theirs = evaluateInC(
      [HEADER],
      ours.map(([expression]) => expression),
    )
    expect(Object.fromEntries(theirs)).toEqual(Object.fromEntries(ours))
  })
})

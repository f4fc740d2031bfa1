/**
 * KVM's uapi numbers (linux/kvm.h), under their exact names. ioctl numbers are computed from the size of the struct
 * that the call takes (asm-generic/ioctl.h); a test compares all of this with the kernel headers.
 */
import * as s from './structs.ts'

const KVMIO = 0xae
const IOC_WRITE = 1
const IOC_READ = 2

function ioc(direction: number, number: number, size: number): number {
  return ((direction << 30) | (size << 16) | (KVMIO << 8) | number) >>> 0
}
const io = (number: number) => ioc(0, number, 0)
const iow = (number: number, size: number) => ioc(IOC_WRITE, number, size)
const ior = (number: number, size: number) => ioc(IOC_READ, number, size)
const iowr = (number: number, size: number) => ioc(IOC_READ | IOC_WRITE, number, size)

/** The only API version there is. */
export const KVM_API_VERSION = 12

// System ioctls.
export const KVM_GET_API_VERSION = io(0x00)
export const KVM_CREATE_VM = io(0x01)
export const KVM_CHECK_EXTENSION = io(0x03)
export const KVM_GET_VCPU_MMAP_SIZE = io(0x04)
export const KVM_GET_SUPPORTED_CPUID = iowr(0x05, s.kvm_cpuid2.size)

// VM ioctls.
export const KVM_CREATE_VCPU = io(0x41)
export const KVM_SET_USER_MEMORY_REGION = iow(0x46, s.kvm_userspace_memory_region.size)
export const KVM_SET_TSS_ADDR = io(0x47)
export const KVM_SET_IDENTITY_MAP_ADDR = iow(0x48, 8)
export const KVM_CREATE_IRQCHIP = io(0x60)
export const KVM_IRQ_LINE = iow(0x61, s.kvm_irq_level.size)
export const KVM_SET_GSI_ROUTING = iow(0x6a, s.kvm_irq_routing.size)
export const KVM_IRQFD = iow(0x76, s.kvm_irqfd.size)
export const KVM_CREATE_PIT2 = iow(0x77, s.kvm_pit_config.size)
export const KVM_IOEVENTFD = iow(0x79, s.kvm_ioeventfd.size)
export const KVM_SIGNAL_MSI = iow(0xa5, s.kvm_msi.size)
export const KVM_CREATE_DEVICE = iowr(0xe0, s.kvm_create_device.size)

// vCPU ioctls.
export const KVM_RUN = io(0x80)
export const KVM_GET_REGS = ior(0x81, s.kvm_regs.size)
export const KVM_SET_REGS = iow(0x82, s.kvm_regs.size)
export const KVM_GET_SREGS = ior(0x83, s.kvm_sregs.size)
export const KVM_SET_SREGS = iow(0x84, s.kvm_sregs.size)
export const KVM_TRANSLATE = iowr(0x85, s.kvm_translation.size)
export const KVM_GET_MSRS = iowr(0x88, s.kvm_msrs.size)
export const KVM_SET_MSRS = iow(0x89, s.kvm_msrs.size)
export const KVM_GET_FPU = ior(0x8c, s.kvm_fpu.size)
export const KVM_SET_FPU = iow(0x8d, s.kvm_fpu.size)
export const KVM_GET_LAPIC = ior(0x8e, s.kvm_lapic_state.size)
export const KVM_SET_LAPIC = iow(0x8f, s.kvm_lapic_state.size)
export const KVM_SET_CPUID2 = iow(0x90, s.kvm_cpuid2.size)
export const KVM_GET_MP_STATE = ior(0x98, s.kvm_mp_state.size)
export const KVM_SET_MP_STATE = iow(0x99, s.kvm_mp_state.size)
export const KVM_NMI = io(0x9a)
export const KVM_KVMCLOCK_CTRL = io(0xad)

// Device ioctls.
export const KVM_SET_DEVICE_ATTR = iow(0xe1, s.kvm_device_attr.size)
export const KVM_GET_DEVICE_ATTR = iow(0xe2, s.kvm_device_attr.size)
export const KVM_HAS_DEVICE_ATTR = iow(0xe3, s.kvm_device_attr.size)

// In-kernel devices (KVM_CREATE_DEVICE) and their attributes.
export const KVM_DEV_TYPE_VFIO = 4
export const KVM_DEV_VFIO_GROUP = 1
export const KVM_DEV_VFIO_GROUP_ADD = 1

// Capabilities (KVM_CHECK_EXTENSION).
export const KVM_CAP_IRQCHIP = 0
export const KVM_CAP_USER_MEMORY = 3
export const KVM_CAP_SET_TSS_ADDR = 4
export const KVM_CAP_EXT_CPUID = 7
export const KVM_CAP_NR_VCPUS = 9
export const KVM_CAP_IRQ_ROUTING = 25
export const KVM_CAP_IRQFD = 32
export const KVM_CAP_PIT2 = 33
export const KVM_CAP_IOEVENTFD = 36
export const KVM_CAP_SET_IDENTITY_MAP_ADDR = 37
export const KVM_CAP_MAX_VCPUS = 66
export const KVM_CAP_TSC_DEADLINE_TIMER = 72
export const KVM_CAP_KVMCLOCK_CTRL = 76
export const KVM_CAP_SIGNAL_MSI = 77
export const KVM_CAP_IMMEDIATE_EXIT = 136

// Exit reasons (kvm_run.exit_reason).
export const KVM_EXIT_UNKNOWN = 0
export const KVM_EXIT_IO = 2
export const KVM_EXIT_DEBUG = 4
export const KVM_EXIT_HLT = 5
export const KVM_EXIT_MMIO = 6
export const KVM_EXIT_IRQ_WINDOW_OPEN = 7
export const KVM_EXIT_SHUTDOWN = 8
export const KVM_EXIT_FAIL_ENTRY = 9
export const KVM_EXIT_INTR = 10
export const KVM_EXIT_INTERNAL_ERROR = 17
export const KVM_EXIT_SYSTEM_EVENT = 24
export const KVM_EXIT_IO_OUT = 1

export const KVM_INTERNAL_ERROR_EMULATION = 1

export const KVM_MEM_LOG_DIRTY_PAGES = 1
export const KVM_MEM_READONLY = 2

export const KVM_IRQFD_FLAG_DEASSIGN = 1
export const KVM_IRQFD_FLAG_RESAMPLE = 2

export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1
export const KVM_IOEVENTFD_FLAG_PIO = 2
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4

export const KVM_IRQ_ROUTING_IRQCHIP = 1
export const KVM_IRQ_ROUTING_MSI = 2
export const KVM_IRQCHIP_PIC_MASTER = 0
export const KVM_IRQCHIP_PIC_SLAVE = 1
export const KVM_IRQCHIP_IOAPIC = 2

export const KVM_PIT_SPEAKER_DUMMY = 1
export const KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1

export const KVM_MP_STATE_RUNNABLE = 0
export const KVM_MP_STATE_UNINITIALIZED = 1

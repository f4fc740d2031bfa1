/** What an x86-64 virtual machine needs besides memory, before its first vCPU. */
import type { Vm } from '../../kvm/vm.ts'
import { KVM_IDENTITY_MAP_ADDRESS, KVM_TSS_ADDRESS } from './layout.ts'

/** Interrupt controllers and timer in the kernel, and the pages that KVM borrows on Intel hosts. */
export function prepareVm(vm: Vm): void {
  vm.setIdentityMapAddress(KVM_IDENTITY_MAP_ADDRESS)
  vm.setTssAddress(KVM_TSS_ADDRESS)
  vm.createIrqchip()
  vm.createPit()
}

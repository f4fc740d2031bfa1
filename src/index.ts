/** bulkhead's public API: build a machine, boot it, talk to it, see how it ends. */
export { BadInput, HostError, KvmUnusable, SysError } from './base/errors.ts'
export { type KvmHost, kvmHost } from './kvm/host-kind.ts'
export { MAX_CPUS, MAX_MEMORY_MIB, type MachineConfig, MIN_MEMORY_MIB } from './machine/config.ts'
export type { Console, OutputHandler } from './machine/console.ts'
export type { VfioConfig } from './machine/device/vfio-config.ts'
export type { IommuConfig } from './machine/iommu-config.ts'
export {
  type InjectedFault,
  type IommuCounters,
  type IommuEvent,
  type IommuFinding,
  IommuView,
  type IommuViewState,
  type MappingState,
} from './machine/iommu-view.ts'
export { Machine, type Outcome } from './machine/machine.ts'

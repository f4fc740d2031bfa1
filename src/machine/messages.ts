/** What the main thread and its Workers tell each other. Plain data: everything here is structured-cloned. */
import type { Entry } from '../boot/plan.ts'
import type { VcpuExit } from '../kvm/run-page.ts'
import type { RamSource } from './device/environment.ts'
import type { DevicePlan } from './device/kinds.ts'
import type { IommuStart } from './iommu-plan.ts'
import type { IommuEnd } from './iommu-view.ts'

/** Shared memory that all threads of a machine use. */
export interface SharedState {
  readonly control: SharedArrayBuffer
  readonly mailboxes: SharedArrayBuffer
  readonly routes: SharedArrayBuffer
  readonly device: SharedArrayBuffer
  /** Per console: what the guest sends. */
  readonly output: readonly SharedArrayBuffer[]
  /** Per console: what the guest will receive. */
  readonly input: readonly SharedArrayBuffer[]
  /** Requests to the devices. */
  readonly commands: SharedArrayBuffer
}

/** Main thread to a vCPU Worker: create the vCPU and run it. */
export interface StartVcpu {
  readonly index: number
  readonly cpus: number
  readonly kvmFd: number
  readonly vmFd: number
  readonly runPageSize: number
  /** The device thread's doorbell, an eventfd. */
  readonly doorbellFd: number
  readonly shared: SharedState
  /** Only for the boot vCPU. */
  readonly entry: Entry | undefined
}

/** A guest that cannot go on, with the registers at that point (`struct kvm_regs`, `struct kvm_sregs`). */
export interface VcpuFault {
  readonly exit: VcpuExit
  readonly regs: Uint8Array
  readonly sregs: Uint8Array
}

/** A vCPU Worker to the main thread. */
export type FromVcpu =
  | { readonly type: 'created'; readonly fd: number; readonly runPage: number }
  | { readonly type: 'paused' }
  | { readonly type: 'stopped' }
  | { readonly type: 'fault'; readonly fault: VcpuFault }
  | { readonly type: 'failed'; readonly message: string }

/** Main thread to the device Worker: build the devices and serve them. */
export interface StartDevices {
  readonly cpus: number
  readonly vmFd: number
  readonly runPageSize: number
  readonly doorbellFd: number
  readonly shared: SharedState
  readonly ram: RamSource
  /** PCI devices, in the order of their slots. */
  readonly devices: readonly DevicePlan[]
  readonly rootPorts: boolean
  readonly pciBridge: boolean
  readonly packedRings: boolean
  readonly iommu: IommuStart | undefined
  /** Whether the serial ports honour RTS (see guest/default-guest.ts: ports with a hardware handshake). */
  readonly flowControl: readonly boolean[]
  readonly debug: boolean
}

/** Why the machine ends, as far as the devices see it. */
export type DeviceEvent =
  | { readonly type: 'powerOff' }
  | { readonly type: 'reset' }
  | { readonly type: 'panic' }
  | { readonly type: 'debugExit'; readonly status: number }

/** The device Worker to the main thread. */
export type FromDevices =
  | { readonly type: 'ready' }
  | { readonly type: 'output'; readonly console: number }
  | { readonly type: 'inputRoom'; readonly console: number }
  | { readonly type: 'portOutput'; readonly port: number }
  | { readonly type: 'portInputRoom'; readonly port: number }
  | { readonly type: 'portOpened'; readonly port: number; readonly isOpen: boolean }
  | { readonly type: 'event'; readonly event: DeviceEvent }
  | { readonly type: 'log'; readonly message: string }
  | { readonly type: 'warning'; readonly message: string }
  | { readonly type: 'iommuTrace'; readonly lines: string }
  | { readonly type: 'iommuEnded'; readonly last: IommuEnd }
  | { readonly type: 'deviceGone'; readonly address: string }
  | { readonly type: 'deviceFailed'; readonly message: string }
  | { readonly type: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly type: 'refusal'; readonly id: number; readonly message: string }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly message: string }

/** What a machine needs of the host, looked at before there is a machine. */
import { Kvm } from '../kvm/kvm.ts'

/** Throws `KvmUnusable`, with a sentence that says what to do, when this host's KVM cannot run a machine. */
export function requireKvm(): void {
  Kvm.open()[Symbol.dispose]()
}

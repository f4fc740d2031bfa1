/** A socket device with a fake host side, as most of its tests need it. */

import { VirtioVsock } from '../../src/virtio/vsock.ts'
import { VIRTIO_VSOCK_OP_REQUEST } from '../../src/virtio/vsock-packet.ts'
import { DeferredTasks } from './deferred-tasks.ts'
import { deviceHarness } from './device-harness.ts'
import { FakeVsockBackend, type FakeVsockStream } from './fake-vsock.ts'
import { GUEST_CID, HOST_PORT, VsockGuest } from './vsock-guest.ts'

/** A program listens at `HOST_PORT`; the guest has no receive buffers yet. */
export function vsockDevice(features = 0n) {
  const backend = new FakeVsockBackend()
  backend.listening.add(HOST_PORT)
  const tasks = new DeferredTasks()
  const device = new VirtioVsock({ name: 'vsock', cid: GUEST_CID, backend, defer: tasks.defer })
  const harness = deviceHarness(device, { features: device.features | features })
  return { backend, tasks, device, harness, guest: new VsockGuest(harness) }
}

/** With a connection that the guest made, whose answer has been heard, and receive buffers. */
export function vsockConnection({ buffers = 16, bufAlloc = 2 ** 16, features = 0n } = {}) {
  const setup = vsockDevice(features)
  setup.guest.offer(1 + buffers)
  setup.guest.send({ op: VIRTIO_VSOCK_OP_REQUEST, bufAlloc })
  setup.guest.hear()
  return { ...setup, stream: setup.backend.streams[0] as FakeVsockStream }
}

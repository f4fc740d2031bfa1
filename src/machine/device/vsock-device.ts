/** The socket device on the device thread. */
import { VsockSockets } from '../../backend/vsock-sockets.ts'
import { VirtioVsock } from '../../virtio/vsock.ts'
import type { DeviceEnvironment } from './environment.ts'
import type { VsockPlan } from './vsock.ts'

/** Builds the device. */
export function createVsock({ cid, path, listenFd }: VsockPlan, { loop, warn }: DeviceEnvironment): VirtioVsock {
  return new VirtioVsock({
    name: 'vsock',
    cid,
    backend: new VsockSockets(listenFd, path, loop, warn),
    defer: task => loop.defer(task),
  })
}

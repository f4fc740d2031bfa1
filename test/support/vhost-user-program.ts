/**
 * A vhost-user program without any features, which ends with its connection. With the argument "stubborn" it does not
 * end by itself. Its socket is descriptor 3, as with virtiofsd.
 */
import { EPOLLHUP, EPOLLIN, EventLoop } from '../../src/host/event-loop.ts'
import { acceptSocket } from '../../src/host/socket.ts'
import { VhostUserPeer } from './vhost-user-peer.ts'

const LISTENER = 3
const isStubborn = process.argv.includes('stubborn')
const loop = new EventLoop()
const socket = acceptSocket(LISTENER)
const peer = new VhostUserPeer(socket)
loop.watch(socket, EPOLLIN, events => {
  peer.serve()
  if ((events & EPOLLHUP) !== 0 && isStubborn) loop.unwatch(socket)
  else if ((events & EPOLLHUP) !== 0) process.exit(0)
})
for (;;) loop.wait(-1)

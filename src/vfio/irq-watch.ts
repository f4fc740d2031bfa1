/** The two interrupts of a VFIO device that are for this process and not for the guest: ERR and REQ. */
import { EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import type { VfioDevice } from './device.ts'

/** Calls `onSignal` on the loop's thread whenever interrupt `irq` comes; undefined if the device has none. */
export function watchIrq(
  device: VfioDevice,
  irq: number,
  loop: Pick<EventLoop, 'watch' | 'unwatch'>,
  onSignal: () => void,
): Disposable | undefined {
  if ((device.irqs[irq]?.count ?? 0) === 0) return undefined
  using opened = new DisposableStack()
  const event = opened.use(EventFd.create())
  loop.watch(event.fd, EPOLLIN, () => {
    event.take()
    onSignal()
  })
  opened.defer(() => loop.unwatch(event.fd))
  device.setTriggers(irq, 0, [event.fd])
  // Goes first: the host must not signal a descriptor that another file has by then.
  opened.defer(() => device.disable(irq))
  return opened.move()
}

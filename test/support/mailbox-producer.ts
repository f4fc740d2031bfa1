/** A thread that plays a vCPU: sends `count` requests through a mailbox, two of three posted, and rings when told. */
import { parentPort, workerData } from 'node:worker_threads'
import { EventFd } from '../../src/host/eventfd.ts'
import { Mailbox, Op } from '../../src/machine/mailbox.ts'

/** What the thread is given. */
export interface MailboxProducer {
  readonly shared: SharedArrayBuffer
  readonly index: number
  readonly doorbellFd: number
  readonly count: number
}

const { shared, index, doorbellFd, count } = workerData as MailboxProducer
const mailbox = new Mailbox(shared, index)
const doorbell = new EventFd(doorbellFd)
const never = () => false
let wrong = 0
for (let i = 0; i < count; i++) {
  if (i % 3 !== 0) {
    if (mailbox.post(Op.portWrite, 0x3f8, 1, i, never)) doorbell.signal()
    continue
  }
  if (mailbox.ask(Op.mmioRead, 2 ** 40 + i, 8, i, 2 ** 32 - 1, never)) doorbell.signal()
  const answered = mailbox.await(never)
  if (!answered || mailbox.resultLow !== i || mailbox.resultHigh !== 2 ** 32 - 1 - i) wrong++
}
parentPort?.postMessage(wrong)

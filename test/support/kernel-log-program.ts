/** A program for a host whose kernel log may be filled: writes lines to it, and says what is told of them. */
import { writeFileSync } from 'node:fs'
import { EventLoop } from '../../src/host/event-loop.ts'
import { HostFaults } from '../../src/vfio/host-faults.ts'

const LOG = '/dev/kmsg'
/** Every line, not ten in five seconds (Documentation/admin-guide/sysctl/kernel.rst). */
const LIMIT = '/proc/sys/kernel/printk_devkmsg'
/** More than a log holds by default (CONFIG_LOG_BUF_SHIFT 17 or 18). */
const FLOOD_BYTES = 2 ** 19
const LINE = `${'x'.repeat(800)}\n`
const ROUND_MS = 100
const ROUNDS = 100

/** What a program's records have. */
const LOG_USER = 1

const fault = (address: string) =>
  `DMAR: [DMA Read NO_PASID] Request device [${address}] fault addr 0x1000 [fault reason 0x06] PTE Read access is not set\n`

writeFileSync(LIMIT, 'on\n')
writeFileSync(LOG, fault('00:01.0'))
const told: string[] = []
let lost = 0
let believed = 0
using loop = new EventLoop()
const onFault = ({ address }: { readonly address: string }) => told.push(address)
using _kernel = HostFaults.open(loop, { onFault: () => believed++ })
using _faults = HostFaults.open(loop, { onFault, onLost: () => lost++, facility: LOG_USER })
const heard = () => {
  for (let round = 0; round < ROUNDS && told.length === 0; round++) loop.wait(ROUND_MS)
  return `${told.splice(0).join(' ')}, lost: ${lost > 0}\n`
}

writeFileSync(LOG, fault('00:02.0'))
process.stdout.write(`from now on: ${heard()}`)
for (let written = 0; written < FLOOD_BYTES; written += LINE.length) writeFileSync(LOG, LINE)
writeFileSync(LOG, fault('00:03.0'))
process.stdout.write(`after a flood: ${heard()}`)
process.stdout.write(`believed of a program: ${believed}\n`)

/**
 * The guest of the Linux benchmark: the default guest, whose init reads a fragment of shell that runs all loads, writes
 * a line for each on the serial port and powers off. The same initrd runs under every hypervisor.
 */
import { readFileSync } from 'node:fs'
import { CpioBuilder } from '../../src/packages/cpio.ts'
import { DISK, TOOLS } from './linux-tools.ts'

/** Addresses on the tap. */
export const HOST_ADDRESS = '10.99.0.1'
const GUEST_ADDRESS = '10.99.0.2'

const SECONDS = 4
/** Not counted: a JIT compiler needs some work to get going, and it gets it under emulation here. */
const WARM_UP_SECONDS = 2

/** A load, and the figure of it that is compared; of all of them more is better. */
export interface Load {
  readonly name: string
  readonly figure: string
  readonly unit: 'requests/s' | 'KiB/s' | 'kbit/s'
  /** Options of fio or of iperf3. */
  readonly options: string
}

export const DISK_LOADS: readonly Load[] = [
  { name: '4 KiB random read, depth 1', figure: 'random-1', unit: 'requests/s', options: '--rw=randread --bs=4k' },
  {
    name: '4 KiB random read, depth 32',
    figure: 'random-32',
    unit: 'requests/s',
    options: '--rw=randread --bs=4k --iodepth=32',
  },
  {
    name: '128 KiB sequential read, depth 8',
    figure: 'sequential',
    unit: 'KiB/s',
    options: '--rw=read --bs=128k --iodepth=8',
  },
]

export const NETWORK_LOADS: readonly Load[] = [
  { name: 'TCP, guest to host', figure: 'send', unit: 'kbit/s', options: '' },
  { name: 'TCP, host to guest', figure: 'receive', unit: 'kbit/s', options: '-R' },
]

/** The default guest's initrd with a fragment of its init behind it (each part starts at a multiple of 4). */
export function benchInitrd(initrd: string, script: string): Uint8Array {
  const base = readFileSync(initrd)
  const archive = new CpioBuilder().file('bulkhead/setup', script).build()
  return Buffer.concat([base, new Uint8Array(-base.length & 3), archive])
}

/** All loads of the Linux benchmark. Disks: vda to read, vdb with the tools. */
export function guestScript(): string {
  return `
exec >/dev/ttyS0 2>&1
mkdir ${TOOLS}
mount -t ext4 -o ro /dev/vdb ${TOOLS}
echo group types $(cat /sys/kernel/iommu_groups/*/type 2>/dev/null | sort -u)
ifconfig eth0 ${GUEST_ADDRESS} netmask 255.255.255.0 up
${TOOLS}/fio --minimal ${fioOptions()} ${DISK_LOADS.map(fioJob).join(' ')} >/tmp/fio
# Version 3 of the format: name, error, KiB/s and requests/s of reads are the fields 3, 5, 7 and 8.
awk -F';' '$5 == 0 { print "figure", $3 ".requests/s", $8; print "figure", $3 ".KiB/s", $7 }' /tmp/fio
${NETWORK_LOADS.map(iperf).join('\n')}
poweroff -f
`
}

function fioOptions(): string {
  const time = `--time_based --runtime=${SECONDS} --ramp_time=${WARM_UP_SECONDS}`
  return `--filename=/dev/vda --readonly --direct=1 --ioengine=libaio --size=${DISK.mib}M ${time}`
}

/** The jobs run one after the other. */
function fioJob({ figure, options }: Load): string {
  return `--name=${figure} --stonewall ${options}`
}

/** The sum line at the receiver: "[ 5] 0.00-4.00 sec 97.1 MBytes 203600 Kbits/sec receiver". */
function iperf({ figure, unit, options }: Load): string {
  const client = `${TOOLS}/iperf3 -c ${HOST_ADDRESS} -t ${SECONDS} -O ${WARM_UP_SECONDS} -f k ${options}`
  return `${client} >/tmp/iperf || cat /tmp/iperf
awk '/receiver/ { print "figure", "${figure}.${unit}", $(NF - 2) }' /tmp/iperf`
}

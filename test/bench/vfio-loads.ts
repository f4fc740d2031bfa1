/**
 * The loads of the VFIO benchmark, as shell: the same for the host, whose own driver has the disk, and for its guests.
 * They print lines that `parseReport` takes.
 */
import { DISK, TOOLS } from './linux-tools.ts'
import { lastLines } from './rig-script.ts'

const SECONDS = 4
/** Not counted. */
const WARM_UP_SECONDS = 4
/**
 * For guests of a program that is compiled as it runs. Natively that takes a second of work; the emulated host has one CPU,
 * on which the compiler's threads and the guest take turns.
 */
export const LONG_WARM_UP = 'warm_up=40'

/** fio's engine psync has no part of a request's time outside its "completion latency". */
const RANDOM = '--ioengine=psync --rw=randread --bs=4k'
const SEQUENTIAL = '--ioengine=libaio --iodepth=8 --rw=read --bs=128k'

/** What one machine reported. */
export interface VfioReport {
  /** Of the disk's IOMMU group: "DMA" (strict), "DMA-FQ" (lazy), "identity"; "none" without an IOMMU. */
  readonly groupType: string
  /** 4 KiB random reads, one at a time. */
  readonly meanUs: number
  readonly medianUs: number
  /** 128 KiB sequential reads, eight at a time. */
  readonly kibPerSecond: number
}

/** Waits for the disk and reads from it. `TOOLS` is mounted. A guest's kernel parameters may hold `LONG_WARM_UP`. */
export const LOADS = `
tries=0; until [ -b /dev/nvme0n1 ] || [ $tries = 200 ]; do usleep 50000; tries=$((tries + 1)); done
warm_up=$(sed -n 's/.*warm_up=\\([0-9]*\\).*/\\1/p' /proc/cmdline)
echo group $(cat /sys/bus/pci/drivers/nvme/0000:*/iommu_group/type 2>/dev/null || echo none)
${TOOLS}/fio --minimal --filename=/dev/nvme0n1 --readonly --direct=1 --size=${DISK.mib}M \
  --time_based --runtime=${SECONDS} --ramp_time=\${warm_up:-${WARM_UP_SECONDS}} \
  --name=random ${RANDOM} --name=sequential --stonewall ${SEQUENTIAL} >/tmp/fio || cat /tmp/fio
# Version 3 of the format: name and error are the fields 3 and 5. Of reads: KiB/s, the mean in us, "50.000000%=us".
awk -F';' '$5 == 0 { split($24, median, "="); print "figures", $3, $7, $16, median[2] }' /tmp/fio
`

const GROUP = /^group (\S+)\r?$/m
const FIGURES = /^figures (\w+) (\d+) ([\d.]+) (\d+)\r?$/gm

/** Takes a machine's figures out of its output; throws if it did not get so far. */
export function parseReport(name: string, output: string): VfioReport {
  const groupType = GROUP.exec(output)?.[1]
  const figures = new Map([...output.matchAll(FIGURES)].map(([, load = '', ...values]) => [load, values.map(Number)]))
  const [, meanUs, medianUs] = figures.get('random') ?? []
  const [kibPerSecond] = figures.get('sequential') ?? []
  if (groupType === undefined || meanUs === undefined || medianUs === undefined || kibPerSecond === undefined)
    throw new Error(`${name} did not report its figures:\n${lastLines(output)}`)
  return { groupType, meanUs, medianUs, kibPerSecond }
}

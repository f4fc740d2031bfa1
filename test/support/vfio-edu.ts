/**
 * A program that drives edu devices through VFIO, for guests and for the emulated host: test/guest-programs/vfio-edu,
 * whose main.c has its commands. It is compiled once and kept in the cache.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { cacheEntry, cacheKey, cacheRoot } from '../../src/packages/cache.ts'
import { missingCompiler } from './c-program.ts'
import { VfioHost } from './vfio-guest.ts'

const SOURCES = new URL('../guest-programs/vfio-edu', import.meta.url).pathname
const NAME = 'vfio-edu'
const FLAGS = ['-O2', '-Wall', '-Wextra', '-Werror', '-static']

/** Why it cannot be compiled here; undefined where it can. */
export function missingVfioEdu(): string | undefined {
  return missingCompiler('linux/vfio.h')
}

/** Path of the program, which needs no libraries. */
async function vfioEdu(): Promise<string> {
  const paths = readdirSync(SOURCES).map(name => join(SOURCES, name))
  const key = cacheKey([...FLAGS, ...paths.flatMap(path => [basename(path), readFileSync(path)])])
  return join(await cacheEntry(cacheRoot(), `test-${NAME}-${key}`, folder => compile(paths, folder)), NAME)
}

async function compile(paths: readonly string[], folder: string): Promise<void> {
  const sources = paths.filter(path => path.endsWith('.c'))
  const { status, stderr } = spawnSync('gcc', [...FLAGS, '-o', join(folder, NAME), ...sources], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`gcc does not compile ${NAME}: ${stderr}`)
}

/**
 * Shell commands for who has the program on `disk`.
 *
 * edus: addresses of the edu devices. bound: gives them all to vfio-pci.
 * edu COMMANDS: has the program run them, and writes what it says. It runs until `edu_end`, so that what one call opens is
 * there for the next; a call ends when its last command has.
 */
function eduCommands(program: string, disk: string): string {
  return `
    head -c ${statSync(program).size} ${disk} >/tmp/${NAME} && chmod 755 /tmp/${NAME}
    edus() {
      for device in /sys/bus/pci/devices/*; do
        [ "$(cat $device/vendor $device/device | tr '\\n' ' ')" = '0x1234 0x11e8 ' ] && echo \${device##*/}
      done
    }
    bound() {
      for device in $(edus); do
        echo vfio-pci >/sys/bus/pci/devices/$device/driver_override
        echo $device >/sys/bus/pci/drivers_probe
        set -- /sys/bus/pci/devices/$device/vfio-dev/*
        [ -e $1 ] && echo "bound: $device"
      done
    }
    edu_start() {
      mkfifo /tmp/edu.in
      /tmp/${NAME} </tmp/edu.in >/tmp/edu.out 2>&1 & edu_process=$!
      exec 8>/tmp/edu.in
      edu_call=0
    }
    edu() {
      [ -e /tmp/edu.in ] || edu_start
      kill -0 $edu_process || return 1
      edu_call=$((edu_call + 1))
      printf 'call-%d: \\n%s\\nreturn-%d: \\n' $edu_call "$1" $edu_call >&8
      until grep -q "^return-$edu_call: " /tmp/edu.out; do
        kill -0 $edu_process 2>/dev/null || { tail -n 1 /tmp/edu.out; return 1; }
        usleep 10000
      done
      sed -n "/^call-$edu_call: /,/^return-$edu_call: /p" /tmp/edu.out | sed '1d;$d'
    }
    edu_end() { exec 8>&-; wait $edu_process; rm /tmp/edu.in; }
  `
}

/** In a guest: no interrupt remapping there, so VFIO must be told to do without. */
const GUEST_VFIO = 'modprobe vfio_iommu_type1 allow_unsafe_interrupts=1; modprobe vfio-pci'

/** An emulated host with that many edu devices, or these in the form of `rig run --device`; it and its guests, which have the program as /dev/vda, know the commands. */
export async function startEduHost(count: number | readonly string[]): Promise<VfioHost> {
  const program = await vfioEdu()
  return await VfioHost.start({
    devices: typeof count === 'number' ? Array.from({ length: count }, () => 'edu') : count,
    files: [program],
    prelude: `${eduCommands(program, '$file1')} ${HOST_COMMANDS}`,
    guestPrelude: `${GUEST_VFIO}; ${eduCommands(program, '/dev/vda')} bound >/dev/null`,
  })
}

/**
 * Commands for the host.
 *
 * ram NAME: a guest's memory, as a file. locked NAME: kilobytes that its hypervisor has locked for devices.
 * refusals FUNCTION ADDRESS: accesses of a device that the host's IOMMU refused, as its kernel tells.
 * refused FUNCTION ADDRESS COMMAND: makes such an access until the kernel tells of one more; it tells of three in five
 * seconds at most.
 * state NAME: of its IOMMU, on one line.
 */
const HOST_COMMANDS = `
  ram() {
    for fd in /proc/$(cat /tmp/$1.pid)/fd/*; do
      case $(readlink $fd) in /memfd:*) echo $fd; return ;; esac
    done
  }
  locked() { sed -n 's/^VmLck:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/$(cat /tmp/$1.pid)/status; }
  refusals() { dmesg | grep -c "DMAR: .* Request device \\[$1\\] fault addr $2 "; }
  refused() {
    before=$(refusals $1 $2)
    tries=150
    until [ $(refusals $1 $2) -gt $before ] || [ $tries -eq 0 ]; do
      tries=$((tries - 1))
      eval "$3"
      usleep 200000
    done
    [ $tries -gt 0 ] && echo "refused: yes"
  }
  state() { bulkhead iommu list $1 --json | tr -d '\\n'; }
`

/**
 * Guests with passed devices: the emulated host with devices to give away, which takes shell commands, and the guests
 * that it starts, which take commands as well.
 */
import { Place } from './bulkhead.ts'
import { commandLoop, GuestShell } from './guest-shell.ts'
import { factsOf, prepareGuest } from './linux-guest.ts'

/** Several guests boot in it, one after the other. */
const LIMIT_MS = 800_000

/**
 * Commands for the host. Files are $file1, $file2 and so on.
 *
 * start NAME OPTION...: boots a guest that takes commands; boot NAME OPTION...: the same, and does not wait for it.
 * inside NAME COMMAND: what a command, in base64, writes in a guest.
 * end NAME: ends a guest as its command's end does, and says how it ended. crash NAME: kills its hypervisor.
 * driver FUNCTION [DRIVER]: which driver has it; or gives it to that one, vfio-pci too.
 */
const HOST_COMMANDS = `
  number=0
  for file in $BULKHEAD_FILES; do number=$((number + 1)); eval "file$number=$file"; done
  boot() {
    name=$1; shift
    rm -f /tmp/$name.*
    mkfifo /tmp/$name.in; echo 0 >/tmp/$name.count
    sleep 100000 >/tmp/$name.in &
    echo $! >/tmp/$name.holder
    bulkhead run --loglevel warning --name $name "$@" -- sh -c "$GUEST_LOOP" </tmp/$name.in >/tmp/$name.out 2>/tmp/$name.err &
    echo $! >/tmp/$name.pid
  }
  runs() { kill -0 $(cat /tmp/$1.pid) 2>/dev/null; }
  booted() {
    until grep -q 'shell is ready' /tmp/$1.out; do
      runs $1 || { echo "start-$1: failed $(cat /tmp/$1.err)"; return 1; }
      usleep 50000
    done
  }
  start() { boot "$@" && booted $1; }
  inside() {
    n=$(cat /tmp/$1.count); echo $((n + 1)) >/tmp/$1.count
    echo $2 >/tmp/$1.in
    until grep -q "^end $n\\.$" /tmp/$1.out; do
      runs $1 || { echo "guest-$1: gone $(cat /tmp/$1.err)"; return 1; }
      usleep 50000
    done
    sed "1,/^begin $n:$/d; /^end $n\\.$/,\\$d" /tmp/$1.out
  }
  end() {
    kill $(cat /tmp/$1.holder)
    wait $(cat /tmp/$1.pid)
    echo "status: $?"
    echo "errors: $(tr '\\n' ';' </tmp/$1.err)"
  }
  crash() {
    kill -9 $(cat /tmp/$1.pid) $(cat /tmp/$1.holder)
    wait $(cat /tmp/$1.pid) 2>/dev/null
  }
  driver() {
    device=/sys/bus/pci/devices/0000:$1
    if [ -n "$2" ]; then
      [ ! -e $device/driver ] || echo 0000:$1 >$device/driver/unbind
      echo $2 >$device/driver_override
      echo 0000:$1 >/sys/bus/pci/drivers_probe
      echo >$device/driver_override
    fi
    basename "$(readlink $device/driver)"
  }
`

/** What the host has. */
export interface VfioHostOptions {
  /** In the form of `rig run --device`, in order. */
  readonly devices: readonly string[]
  /** In the form of `rig run --file`. */
  readonly files?: readonly string[]
  readonly network?: boolean
  /** Memory for all guests and what else runs there. */
  readonly memory?: string
  /** Shell functions and commands that the host begins with. */
  readonly prelude?: string
  /** The same for each guest. */
  readonly guestPrelude?: string
}

/**
 * The emulated host.
 *
 * @example
 * await using host = await VfioHost.start({ devices: ['edu'] })
 * await host.startGuest('guest', '--iommu all --vfio 00:10.0,bind')
 * await host.inGuest('guest', 'echo "release: $(uname -r)"') // { release: '6.12...' }
 * await host.facts('end guest') // { status: '0', errors: '' }
 */
export class VfioHost implements AsyncDisposable {
  private constructor(
    readonly shell: GuestShell,
    private readonly place: Place,
  ) {}

  static async start(options: VfioHostOptions): Promise<VfioHost> {
    await prepareGuest()
    const { devices, files = [], network = false, memory = '512M', prelude = '', guestPrelude = '' } = options
    const place = new Place({ ownCache: false })
    const words = [
      ...['rig', 'run', '--loglevel', 'error', '--guest', '--mem', memory, ...(network ? ['--network'] : [])],
      ...devices.flatMap(device => ['--device', device]),
      ...files.flatMap(file => ['--file', file]),
    ]
    const guestLoop = Buffer.from(commandLoop(guestPrelude)).toString('base64')
    const script = commandLoop(`GUEST_LOOP=$(echo ${guestLoop} | base64 -d)\n${HOST_COMMANDS}\n${prelude}`)
    const run = place.start([...words, '--', 'sh', '-c', script], { stdin: null, timeoutMs: LIMIT_MS })
    try {
      return new VfioHost(await GuestShell.attach(run), place)
    } catch (error) {
      run.child.kill('SIGTERM')
      place[Symbol.dispose]()
      throw error
    }
  }

  /** What a command writes on the host. */
  output(command: string): Promise<string> {
    return this.shell.output(command)
  }

  /** Its lines `name: value`. */
  facts(command: string): Promise<Readonly<Record<string, string>>> {
    return this.shell.facts(command)
  }

  /** Boots a guest with options of `run` as the host's shell takes them; throws when it does not come up. */
  async startGuest(name: string, options: string): Promise<void> {
    const said = await this.output(`start ${name} ${options}`)
    if (said !== '') throw new Error(said)
  }

  /** What a command writes in a guest. */
  guestOutput(name: string, command: string): Promise<string> {
    return this.output(`inside ${name} ${Buffer.from(command).toString('base64')}`)
  }

  /** Its lines `name: value`. */
  async inGuest(name: string, command: string): Promise<Readonly<Record<string, string>>> {
    return factsOf(await this.guestOutput(name, command))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shell[Symbol.asyncDispose]()
    this.place[Symbol.dispose]()
  }
}

/** A real share: virtiofsd with a folder, the device on an event loop that the test turns, and a FUSE client. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { virtiofsdCommands } from '../../src/backend/vhost-user-virtiofsd.ts'
import { EPOLLIN, EventLoop } from '../../src/host/event-loop.ts'
import { openShare, type ShareConfig } from '../../src/machine/device/share.ts'
import { createShare } from '../../src/machine/device/share-device.ts'
import { Timers } from '../../src/machine/timers.ts'
import { DeviceHarness } from './device-harness.ts'
import { FuseClient } from './fuse-client.ts'
import { AS_NOBODY, missingNobody } from './unprivileged.ts'
import { VirtioMemory } from './virtio-memory.ts'

/** Why there is no virtiofsd. */
export function missingVirtiofsd(): string | undefined {
  try {
    virtiofsdCommands({ folder: '/', readOnly: false })
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** Why a user without rights cannot share. */
export function missingUserNamespaces(): string | undefined {
  const [setpriv, ...words] = AS_NOBODY
  const works = spawnSync(setpriv, [...words, 'unshare', '--map-root-user', 'true']).status === 0
  return missingVirtiofsd() ?? missingNobody() ?? (works ? undefined : 'nobody cannot make user namespaces')
}

/** A folder that is gone when it is disposed. Its name is one that option parsers stumble over. */
export class SharedFolder implements Disposable {
  private readonly top = mkdtempSync(join(tmpdir(), 'share-'))
  readonly path = join(this.top, 'a b,ro')

  constructor() {
    mkdirSync(this.path)
    chmodSync(this.top, 0o755)
  }

  [Symbol.dispose](): void {
    rmSync(this.top, { recursive: true })
  }
}

/** The processes that have `word` in their command line. */
export function processesWith(word: string): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter(pid => pid > 0 && commandOf(pid).includes(word))
}

/** Stops the processes that have `word` in their command line; resolves when none of their threads runs any more. */
export async function freeze(word: string): Promise<void> {
  for (const pid of processesWith(word)) process.kill(pid, 'SIGSTOP')
  const running = () => processesWith(word).filter(pid => threadStates(pid).some(state => state !== 'T'))
  await vi.waitFor(() => expect(running()).toEqual([]), { timeout: 20_000, interval: 2 })
}

/** proc(5): a letter for each thread, behind the name in parentheses. */
function threadStates(pid: number): readonly string[] {
  return readdirSync(`/proc/${pid}/task`).map(thread => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    return text.charAt(text.lastIndexOf(')') + 2)
  })
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\\,', ',')
  } catch {
    return ''
  }
}

/** The share on one thread, which is main and device thread in one. */
export class ShareBench implements AsyncDisposable {
  readonly warnings: string[]
  readonly fuse: FuseClient

  private constructor(
    readonly harness: DeviceHarness,
    private readonly loop: EventLoop,
    warnings: string[],
    private readonly opened: AsyncDisposableStack,
  ) {
    this.warnings = warnings
    this.fuse = new FuseClient(harness, () => this.turn())
  }

  static async open(config: Omit<ShareConfig, 'kind' | 'tag'>): Promise<ShareBench> {
    await using opened = new AsyncDisposableStack()
    const share = await openShare({ kind: 'share', tag: 'data', ...config })
    opened.use(share.resources)
    const memory = opened.use(new VirtioMemory({ real: true }))
    const loop = opened.use(new EventLoop())
    const timers = opened.use(new Timers())
    loop.watch(timers.fd, EPOLLIN, () => timers.fire())
    const warnings: string[] = []
    const device = createShare(share.plan, {
      loop,
      timers,
      memory: memory.memory,
      ram: memory.ram!,
      notices: { output: () => {}, inputRoom: () => {}, guestOpened: () => {} },
      debug: () => {},
      warn: message => void warnings.push(message),
    })
    const harness = opened.use(new DeviceHarness(device, { memory, features: device.transportFeatures ?? 0n }))
    harness.activate()
    return new ShareBench(harness, loop, warnings, opened.move())
  }

  /** The device thread waits for one event. */
  turn(): void {
    this.loop.wait(1000)
  }

  /** Both threads go on until `check` does not throw. */
  async until(check: () => void): Promise<void> {
    const look = () => {
      this.loop.wait(0)
      check()
    }
    await vi.waitFor(look, { timeout: 20_000, interval: 2 })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.opened.disposeAsync()
  }
}

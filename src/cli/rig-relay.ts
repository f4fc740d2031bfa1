/** The control requests of an instance that runs in the rig: the inner run answers, with the outer one's facts. */
import { BadInput } from '../base/errors.ts'
import { ControlClient } from '../control/client.ts'
import type { MachineStat } from '../control/machine-control.ts'
import type { RigRun } from '../rig/rig.ts'
import type { RunRequest } from './run-options.ts'

/** Passes requests on once the rig is up. */
export class RigRelay {
  private client: ControlClient | undefined
  private run: RigRun | undefined
  private readonly startedMs = performance.now()

  constructor(private readonly instance: RunRequest) {}

  /** The rig is up. */
  connect(run: RigRun): void {
    const client = new ControlClient(line => void run.control.write(new TextEncoder().encode(line)))
    this.client = client
    this.run = run
    void (async () => {
      for await (const bytes of run.control.read()) client.push(bytes)
      client.fail('the instance ended before it answered')
    })()
  }

  /** Makes a request of the inner run. */
  async request(method: string, params: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.client === undefined || this.run === undefined) {
      if (method === 'stat') return this.withFacts({})
      throw new BadInput('the instance is still starting: try again in a moment')
    }
    const result = await this.client.request(method, params)
    return method === 'stat' ? this.withFacts(result as Partial<MachineStat>) : result
  }

  private withFacts(inner: Partial<MachineStat>): MachineStat {
    return {
      state: 'starting',
      cpus: this.instance.cpus,
      memoryMiB: this.instance.memoryMiB,
      exits: [],
      devices: [],
      // The inner process's as soon as it answers, as that has the guest's memory.
      residentKiB: Math.round(process.memoryUsage().rss / 1024),
      ...inner,
      name: this.instance.name,
      pid: process.pid,
      host: 'rig',
      kernel: this.instance.kernel ?? 'default guest',
      uptimeMs: Math.round(performance.now() - this.startedMs),
    }
  }
}

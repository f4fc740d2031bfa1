/** A tap interface with echo.c behind it: the network that the bench guest talks to. */
import { existsSync, writeFileSync } from 'node:fs'
import { Skip, type Workshop } from './c-program.ts'

/** Exists from `create` until it is disposed of; machines attach to it by its name, one at a time. */
export class EchoTap implements AsyncDisposable {
  private constructor(
    readonly name: string,
    private readonly echo: Bun.Subprocess,
  ) {}

  /** Throws `Skip` where no tap can be made. */
  static async create(workshop: Workshop): Promise<EchoTap> {
    if (!existsSync('/dev/net/tun')) throw new Skip('there is no /dev/net/tun')
    const program = workshop.compile('echo')
    const name = `bench${process.pid}`
    ip(['tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr'])
    // The kernel's own router solicitations would be frames that nobody asked for.
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '1')
    ip(['link', 'set', name, 'up'])
    const echo = Bun.spawn([program, name], { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' })
    const ready = await echo.stdout.getReader().read()
    if (ready.done) {
      ip(['link', 'delete', name])
      throw new Error('the echo program ended early')
    }
    return new EchoTap(name, echo)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.echo.kill()
    await this.echo.exited
    ip(['link', 'delete', this.name])
  }
}

function ip(words: readonly string[]): void {
  const program = Bun.which('ip')
  if (program === null) throw new Skip('a tap is made by ip (apt install iproute2)')
  const { exitCode, stderr } = Bun.spawnSync([program, ...words])
  if (exitCode !== 0) throw new Skip(`ip ${words.join(' ')} failed: ${stderr.toString().trim()}`)
}

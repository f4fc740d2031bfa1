/** A tap interface with echo.c behind it: the network that the bench guest talks to. */
import { Skip, type Workshop } from './c-program.ts'

/** Exists from `create` until it is disposed of; machines attach to it by its name, one at a time. */
export class EchoTap implements AsyncDisposable {
  private constructor(
    readonly name: string,
    private readonly echo: Bun.Subprocess,
  ) {}

  /** Throws `Skip` where no tap can be made. */
  static async create(workshop: Workshop): Promise<EchoTap> {
    const name = `bench${process.pid}`
    const echo = Bun.spawn([workshop.compile('echo'), name], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    const ready = await echo.stdout.getReader().read()
    if (ready.done) throw new Skip(`there is no tap: ${(await new Response(echo.stderr).text()).trim()}`)
    return new EchoTap(name, echo)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.echo.kill()
    await this.echo.exited
  }
}

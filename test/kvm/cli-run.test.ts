import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { patternAt } from '../support/byte-pattern.ts'
import { bzImage } from '../support/kernel-images.ts'
import { missingKvm, missingPageTableKvm } from '../support/kvm-host.ts'
import { Assembler, le32 } from '../support/micro-guest.ts'
import { lineWith } from '../support/refusal.ts'
import { describeUnless } from '../support/skip.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-micro-'))
afterAll(() => rmSync(folder, { recursive: true }))
const READY = 0x01
const EMPTY = 0x20
/** A word of memory that the image does not cover. */
const COUNTER = 0x20_0000

const image = (name: string, code: Assembler) => {
  const path = join(folder, name)
  writeFileSync(path, code.image())
  return path
}
/** Sends back what it receives until a NUL comes. */
const echo = () => {
  const code = new Assembler()
  const start = code.here
  // mov bl, al; mov al, bl; test bl, bl; jnz start
  code.awaitLineStatus(READY).in8(0x3f8).raw(0x88, 0xc3)
  code.awaitLineStatus(EMPTY).raw(0x88, 0xd8).out8(0x3f8).raw(0x84, 0xdb, 0x0f, 0x85)
  return code.raw(...le32(start - (code.here + 4))).exit(0)
}
/** Sends `x` without end. */
const chatter = () => {
  const code = new Assembler()
  const start = code.here
  return code.awaitLineStatus(EMPTY).eax(0x78).out8(0x3f8).jump(start)
}
const SPIN = image('spin', new Assembler().print('spinning\n').spin())

let place: Place
beforeEach(() => {
  place = new Place({ ownCache: true })
})
afterEach(() => place[Symbol.dispose]())

const onKvm = (kernel: string, words: readonly string[] = []) => ['run', '--host', 'kvm', '-k', kernel, ...words]
/** Ends what a failed test left running. */
const ended = async (run: ReturnType<Place['start']>) => {
  run.child.kill('SIGTERM')
  return run.result
}

describeUnless(missingKvm(), 'bulkhead run of a micro-guest', () => {
  it.each([
    [0, 1],
    [21, 43],
    [0x7f, 0xff],
  ])('ends with the status of the debug exit %d', async (value, status) => {
    const kernel = image(`exit-${value}`, new Assembler().print('Hello\n').exit(value))
    expect(await place.bulkhead(onKvm(kernel))).toMatchObject({ status, stdout: 'Hello\n', stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('ends a triple fault with status 121, the registers and one sentence', async () => {
    const kernel = image('crash', new Assembler().print('crash\n').eax(0x1234_5678).raw(0x0f, 0x0b))
    const { status, stdout, stderr } = await place.bulkhead(onKvm(kernel))
    expect([status, stdout]).toEqual([121, 'crash\n'])
    expect(stderr).toContain('rax    0000000012345678')
    expect(stderr).toMatch(/^rip {4}[0-9a-f]{16}/m)
    expect(stderr).toMatch(/\nbulkhead: vCPU 0 crashed \(triple fault\)\n$/)
    expect(place.leftovers()).toEqual([])
  })

  it('ends with status 124 when its time is over', async () => {
    const started = performance.now()
    const run = await place.bulkhead(onKvm(SPIN, ['--timeout', '0.5']))
    expect(run).toMatchObject({ status: 124, stdout: 'spinning\n', stderr: 'bulkhead: timed out after 0.5 s\n' })
    expect(performance.now() - started).toBeGreaterThan(500)
    expect(place.leftovers()).toEqual([])
  })

  it('passes standard input and output byte for byte', async () => {
    const input = new Uint8Array(20_000).map((_, index) => (index === 19_999 ? 0 : patternAt(index)))
    const { status, bytes } = await place.bulkhead(onKvm(image('echo', echo())), { stdin: input })
    expect(status).toBe(1)
    expect(bytes.equals(input)).toBe(true)
  })

  it('ends as by SIGPIPE when nobody reads its output any more', async () => {
    const run = place.start(onKvm(image('chatter', chatter())))
    await run.saw('xxxxxxxxxx')
    run.child.stdout?.destroy()
    expect((await run.result).status).toBe(141)
    expect(place.leftovers()).toEqual([])
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('ends by %s with status %d', async (signal, status) => {
    const run = place.start(onKvm(SPIN))
    await run.saw('spinning\n')
    run.child.kill(signal)
    expect(await run.result).toMatchObject({ status, stdout: 'spinning\n', stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('takes 16 vCPUs', async () => {
    const kernel = image('many', new Assembler().print('many\n').exit(3))
    expect(await place.bulkhead(onKvm(kernel, ['-c', '16']))).toMatchObject({ status: 7, stdout: 'many\n', stderr: '' })
  })
})

describeUnless(missingKvm(), 'bulkhead run --reboot', () => {
  const resets = () => new Assembler().print('start\n').eax(0xfe).out8(0x64).spin()

  it('starts the guest again each time it resets', async () => {
    const run = place.start(onKvm(image('resets', resets()), ['--reboot']))
    await run.saw('start\nstart\nstart\n')
    expect(await ended(run)).toMatchObject({ status: 143, stderr: '' })
    expect(place.leftovers()).toEqual([])
  })

  it('ends the run at the first reset where it is not given', async () => {
    const run = await place.bulkhead(onKvm(image('resets', resets())))
    expect(run).toMatchObject({ status: 0, stdout: 'start\n', stderr: '' })
  })

  it('gives each start new memory, and the input to the guest of the moment', async () => {
    // cmp dword [COUNTER], 0; je over the exit with 1, for memory that was kept
    const kept = new Assembler().exit(1).code()
    const code = new Assembler().raw(0x83, 0x3d, ...le32(COUNTER), 0, 0x0f, 0x84, ...le32(kept.length)).raw(...kept)
    // A key typed at it decides: r resets, anything else ends with 4. cmp al, 'r'; jne over the reset
    const reset = new Assembler().eax(0xfe).out8(0x64).spin().code()
    code.set(COUNTER, 1).print('?').awaitLineStatus(READY).in8(0x3f8)
    code
      .raw(0x3c, 0x72, 0x0f, 0x85, ...le32(reset.length))
      .raw(...reset)
      .exit(4)
    const run = place.start(onKvm(image('asks', code), ['--reboot']), { stdin: null })
    for (const [index, key] of [...'rrre'].entries()) {
      await run.saw('?'.repeat(index + 1))
      run.type(key)
    }
    expect(await run.result).toMatchObject({ status: 9, stdout: '????', stderr: '' })
  })
})

describeUnless(missingPageTableKvm(), 'bulkhead run of Linux on a KVM by page tables', () => {
  const linux = join(folder, 'linux')
  writeFileSync(linux, bzImage())

  it.each([
    ['a kernel of the user', ['-k', linux]],
    ['a command in it', ['-k', linux, '--', 'true']],
    ['the default guest', []],
  ])('refuses %s with --host kvm and names the rig', async (_, words) => {
    const { status, stdout, stderr } = await place.bulkhead(['run', '--host', 'kvm', ...words])
    expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: '', stderr: lineWith('use --host rig') })
    expect(place.leftovers()).toEqual([])
  })
})

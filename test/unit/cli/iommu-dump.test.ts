import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { type ControlHandler, ControlServer } from '../../../src/control/server.ts'
import { type CliResult, runBulkhead } from '../../support/bulkhead.ts'
import { lineWith } from '../../support/refusal.ts'

let runtime: string
beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'bulkhead-run-'))
  vi.stubEnv('XDG_RUNTIME_DIR', runtime)
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(runtime, { recursive: true })
})

/** More than one answer has. */
const DOMAIN = { id: 1, bypass: false, endpoints: [8], mappings: 5000, bytes: 5000 * 4096 }
const STATE = { endpoints: [{ id: 8, name: 'disk0' }], domains: [DOMAIN] }
const PAGE = Array.from({ length: 4096 }, (_, page) => ({
  start: page * 4096,
  end: page * 4096 + 4095,
  phys: 0,
  flags: 3,
}))

/** Dumps an instance whose answers for mappings are `mappings`, beginning with the first ones. */
async function dump(mappings: (server: ControlServer, from: number) => unknown): Promise<CliResult> {
  const answer: ControlHandler = async (method, { from }) =>
    method === 'iommuState' ? STATE : mappings(server, from as number)
  const server: ControlServer = await ControlServer.listen('one', answer)
  try {
    return await runBulkhead(['iommu', 'dump', 'one'], { env: { XDG_RUNTIME_DIR: runtime } })
  } finally {
    server.close()
  }
}

function refuse(): never {
  throw new BadInput('the IOMMU has no domain 1')
}

describe('bulkhead iommu dump', () => {
  it('takes the end of a domain for the end of its mappings', async () => {
    const pages = new Map([[0, PAGE]])
    const { status, stderr, stdout } = await dump((_, from) => pages.get(from) ?? refuse())
    expect([status, stderr, stdout.split('\n').length]).toEqual([0, '', 4096 + 2])
  })

  it('says so when the guest ends meanwhile', async () => {
    const { status, stderr } = await dump(server => {
      // As an instance ends, but this answer is still on its way.
      rmSync(server.path)
      return PAGE
    })
    expect([status, stderr]).toEqual([2, lineWith('no instance called "one" runs')])
  })
})

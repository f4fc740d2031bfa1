/** `bulkhead iommu dump`: the mappings of a running guest's domains, asked for in pieces. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { isAlive } from '../control/instances.ts'
import { type LiveState, mappingText } from '../report/state-text.ts'
import { formatBytes, plural } from '../report/units.ts'
import { type Arguments, parseInteger } from './arguments.ts'
import { SIGPIPE } from './status.ts'
import { streamWriter } from './streams.ts'

/** Mappings of one answer. */
const PAGE = 4096

type Mapping = Parameters<typeof mappingText>[0][number]

/** All domains, or the one of `--domain`. A guest that runs meanwhile may change what was not asked for yet. */
export async function dumpMappings(name: string, { values, switches }: Arguments): Promise<number> {
  const wanted = values['domain'] === undefined ? undefined : parseInteger('--domain', values['domain'], 0, 0xffff_ffff)
  const state = (await askInstance(name, 'iommuState')) as LiveState
  const domains = state.domains.filter(({ id }) => wanted === undefined || id === wanted)
  if (wanted !== undefined && domains.length === 0)
    throw new BadInput(`the IOMMU of "${name}" has no domain ${wanted}: see bulkhead iommu list ${name}`)
  const names = new Map(state.endpoints.map(endpoint => [endpoint.id, endpoint.name]))
  const isJson = switches.has('json')
  let isClosed = false
  const writer = streamWriter(process.stdout, () => {
    isClosed = true
  })
  const write = (text: string) => writer(new TextEncoder().encode(text))
  if (isJson) await write('[')
  else if (domains.length === 0) await write('no domains\n')
  for (const [index, domain] of domains.entries()) {
    if (isJson) {
      const { mappings: _count, ...rest } = domain
      await write(`${index === 0 ? '' : ','}${JSON.stringify(rest).slice(0, -1)},"mappings":[`)
    } else {
      const endpoints = domain.endpoints.map(id => names.get(id) ?? id).join(' ')
      const what = domain.bypass ? 'addresses pass unchanged' : plural(domain.mappings, 'mapping')
      await write(`domain ${domain.id} (${endpoints}): ${what}, ${formatBytes(domain.bytes)}\n`)
    }
    let separator = ''
    for await (const page of pages(name, domain.id)) {
      await write(isJson ? separator + JSON.stringify(page).slice(1, -1) : mappingText(page))
      separator = ','
      if (isClosed) return 128 + SIGPIPE
    }
    if (isJson) await write(']}')
  }
  if (isJson) await write(']\n')
  return 0
}

async function* pages(name: string, domain: number): AsyncGenerator<readonly Mapping[]> {
  for (let from = 0; ; ) {
    const page = await askPage(name, domain, from)
    if (page.length > 0) yield page
    if (page.length < PAGE) return
    from = (page.at(-1)?.end ?? 0) + 1
  }
}

/** A domain may end while it is shown; when the guest does, the rest is missing. */
async function askPage(name: string, domain: number, from: number): Promise<readonly Mapping[]> {
  try {
    return (await askInstance(name, 'iommuMappings', { domain, from, limit: PAGE })) as readonly Mapping[]
  } catch (error) {
    if (error instanceof BadInput && (await isAlive(name))) return []
    throw error
  }
}

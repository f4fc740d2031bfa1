/** `bulkhead iommu dump`: the mappings of a running guest's domains, asked for in pieces. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { type LiveState, mappingText } from '../report/state-text.ts'
import { formatBytes, plural } from '../report/units.ts'
import { type Arguments, parseInteger } from './arguments.ts'

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
  if (isJson) process.stdout.write('[')
  for (const [index, domain] of domains.entries()) {
    if (isJson) {
      const mappings: Mapping[] = []
      for await (const page of pages(name, domain.id)) mappings.push(...page)
      process.stdout.write(`${index === 0 ? '' : ','}${JSON.stringify({ ...domain, mappings })}`)
      continue
    }
    const endpoints = domain.endpoints.map(id => names.get(id) ?? id).join(' ')
    const what = domain.bypass ? 'addresses pass unchanged' : plural(domain.mappings, 'mapping')
    process.stdout.write(`domain ${domain.id} (${endpoints}): ${what}, ${formatBytes(domain.bytes)}\n`)
    for await (const page of pages(name, domain.id)) process.stdout.write(mappingText(page))
  }
  if (isJson) process.stdout.write(']\n')
  else if (domains.length === 0) process.stdout.write('no domains\n')
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

/** A domain may end while it is shown. */
async function askPage(name: string, domain: number, from: number): Promise<readonly Mapping[]> {
  try {
    return (await askInstance(name, 'iommuMappings', { domain, from, limit: PAGE })) as readonly Mapping[]
  } catch (error) {
    if (error instanceof BadInput) return []
    throw error
  }
}

/** The `iommu` command: a view into a running guest's IOMMU, and the report of a trace. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { type LiveState, listText, statText } from '../report/state-text.ts'
import { type Arguments, type Options, parseArguments, parseChoice } from './arguments.ts'

export const IOMMU_OPTIONS: Options = {
  json: { help: 'machine-readable output; of trace, the lines as they are' },
  domain: { value: 'N', help: 'dump: only this domain' },
  endpoint: { value: 'NAME|ID', help: 'fault: who makes it' },
  address: { value: 'A', help: 'fault: the I/O virtual address' },
  reason: { value: 'R', help: 'fault: mapping (default), domain or unknown' },
  access: { value: 'A', help: 'fault: read (default) or write' },
  html: { value: 'OUT', help: 'report: write it as one HTML page' },
}

/** Options of each form, and what it does. */
const FORMS: Readonly<
  Record<
    string,
    { readonly options: readonly string[]; readonly run: (target: string, parsed: Arguments) => Promise<number> }
  >
> = {
  list: { options: ['json'], run: (name, parsed) => show(name, parsed, listText) },
  stat: { options: ['json'], run: (name, parsed) => show(name, parsed, statText) },
  dump: {
    options: ['json', 'domain'],
    run: async (name, parsed) => (await import('./iommu-dump.ts')).dumpMappings(name, parsed),
  },
  trace: {
    options: ['json'],
    run: async (name, parsed) => (await import('./iommu-follow.ts')).followTrace(name, parsed.switches.has('json')),
  },
  fault: { options: ['endpoint', 'address', 'reason', 'access'], run: injectFault },
  report: {
    options: ['json', 'html'],
    run: async (file, parsed) => (await import('./iommu-report.ts')).reportTrace(file, parsed),
  },
}

/** `bulkhead iommu`. */
export async function iommu(words: readonly string[]): Promise<number> {
  const parsed = parseArguments('iommu', words, IOMMU_OPTIONS)
  const [verb = '', target, ...more] = parsed.positionals
  const form = Object.hasOwn(FORMS, verb) ? FORMS[verb] : undefined
  if (form === undefined)
    throw new BadInput(`iommu does one of ${Object.keys(FORMS).join(', ')}: see bulkhead help iommu`)
  for (const option of [...Object.keys(parsed.values), ...parsed.switches])
    if (!form.options.includes(option)) throw new BadInput(`iommu ${verb} has no option --${option}`)
  if (target === undefined || more.length > 0) {
    const what = verb === 'report' ? 'the file of a trace' : 'the name of one instance'
    throw new BadInput(`iommu ${verb} needs ${what}: see bulkhead help iommu`)
  }
  return form.run(target, parsed)
}

async function show(name: string, { switches }: Arguments, text: (state: LiveState) => string): Promise<number> {
  const state = (await askInstance(name, 'iommuState')) as LiveState
  process.stdout.write(switches.has('json') ? `${JSON.stringify(state)}\n` : text(state))
  return 0
}

async function injectFault(name: string, { values }: Arguments): Promise<number> {
  const { endpoint, address } = values
  if (endpoint === undefined || address === undefined)
    throw new BadInput('iommu fault needs --endpoint and --address: see bulkhead help iommu')
  if (!/^(0x[0-9a-f]+|[0-9]+)$/i.test(address) || Number(address) > Number.MAX_SAFE_INTEGER)
    throw new BadInput(`--address must be a number below 2^53, such as 0x1000, not "${address}"`)
  await askInstance(name, 'iommuFault', {
    endpoint,
    address: Number(address),
    reason: parseChoice('--reason', values['reason'] ?? 'mapping', ['mapping', 'domain', 'unknown']),
    access: parseChoice('--access', values['access'] ?? 'read', ['read', 'write']),
  })
  return 0
}

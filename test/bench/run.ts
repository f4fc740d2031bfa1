/**
 * Benchmarks: `npm run bench` runs all, `npm run bench -- exits start` some. They print ratios to a baseline that was
 * measured in the same run; RESULTS.md keeps what was found when and where.
 */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { Skip } from './c-program.ts'
import { disk } from './disk.ts'
import { exits } from './exits.ts'
import { guest } from './guest.ts'
import { iommu } from './iommu.ts'
import { iommuCore } from './iommu-core.ts'
import { linux } from './linux.ts'
import { linuxIommu } from './linux-iommu.ts'
import { queue } from './queue.ts'
import { start } from './start.ts'
import { vfio } from './vfio.ts'
import { virtio } from './virtio.ts'

const BENCHMARKS: Readonly<Record<string, () => Promise<void>>> = {
  exits,
  start,
  guest,
  queue,
  disk,
  virtio,
  'iommu-core': iommuCore,
  iommu,
  linux,
  'linux-iommu': linuxIommu,
  vfio,
}

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter(name => !Object.hasOwn(BENCHMARKS, name))
  if (unknown.length > 0) {
    console.error(`no benchmark ${unknown.join(', ')}: there are ${Object.keys(BENCHMARKS).join(', ')}`)
    return 2
  }
  printHost()
  for (const [name, run] of Object.entries(BENCHMARKS)) {
    if (names.length > 0 && !names.includes(name)) continue
    try {
      await run()
    } catch (error) {
      if (!(error instanceof Skip)) throw error
      console.log(`\n${name}: skipped, ${error.message}`)
    }
  }
  console.log(`\nload average at the end ${loadAverage()}`)
  return 0
}

function printHost(): void {
  const hypervisor = /^flags\s*:.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))
  const model = cpus()[0]?.model ?? 'unknown processor'
  console.log(new Date().toISOString().slice(0, 10))
  console.log(`${cpus().length} x ${model}${hypervisor ? ' (in a virtual machine)' : ''}`)
  console.log(`Linux ${release()}, Bun ${Bun.version}, load average ${loadAverage()}`)
}

function loadAverage(): string {
  return loadavg()
    .map(load => load.toFixed(2))
    .join(' ')
}

process.exitCode = await main(process.argv.slice(2))

import { bulkheadLinux, qemuLinux } from './linux-machines.ts'
import { runLinux } from './h-tmp-run.ts'
const which = process.argv[2]
const params = 'iommu.passthrough=0 iommu.strict=1'
const machine = which === 'qemu' ? qemuLinux({ iommu: true, params }) : bulkheadLinux({ iommu: true, params })
const reports = await runLinux([machine], 1)
console.log(which, JSON.stringify(reports.map(r => r.map(x => [[...x.figures], x.groupTypes]))))

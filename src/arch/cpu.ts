/** The architecture's vCPUs. See index.ts. */
export { setupCpu, setupCpuid } from './x86-64/cpu.ts'

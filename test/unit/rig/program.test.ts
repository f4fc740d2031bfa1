import { describe, expect, it } from 'vitest'
import { buildProgram, programKey } from '../../../src/rig/program.ts'

describe('programKey', () => {
  it('is the same for the same sources', () => {
    expect(programKey()).toBe(programKey())
  })
})

describe('buildProgram', () => {
  it('has the command line, the Workers and the data files under the names that the bundle looks for', async () => {
    const archive = Buffer.from(await buildProgram()).toString('latin1')
    const names = [
      'cli.js',
      'vcpu-worker.js',
      'device-worker.js',
      'package.json',
      'firmware/dsdt.aml',
      'guests/rig/init',
    ]
    expect(names.filter(name => !archive.includes(`${name}\0`))).toEqual([])
  })
})

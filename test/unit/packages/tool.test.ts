import { describe, expect, it } from 'vitest'
import { readFromTool, runTool } from '../../../src/packages/tool.ts'

describe('runTool', () => {
  it('gives the output', async () => {
    expect(await runTool(['sh', '-c', 'echo out; echo err >&2'])).toBe('out\n')
  })

  it('names the program, its status and its last words when it fails', async () => {
    await expect(runTool(['sh', '-c', 'echo why >&2; exit 3'])).rejects.toThrow(/^sh .*status 3: why$/)
  })
})

describe('readFromTool', () => {
  it('gives bytes as they are', () => {
    expect([...readFromTool(['printf', '\\377\\000\\n'])]).toEqual([0xff, 0, 10])
  })

  it('names the program that is missing', () => {
    expect(() => readFromTool(['no-such-program'])).toThrow('no-such-program is not installed: install it.')
  })
})

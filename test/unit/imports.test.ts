import { describe, expect, it } from 'vitest'
import {
  defaultExports,
  importBreaches,
  importsOf,
  leftovers,
  longFiles,
  MAY_IMPORT,
  readSources,
} from '../support/source-rules.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const SOURCES = readSources(ROOT, 'src')
const ALL = [...SOURCES, ...readSources(ROOT, 'test')]

describe('the source tree', () => {
  it('imports only in the directions of the table', () => {
    expect(SOURCES.length).toBeGreaterThan(50)
    expect(importBreaches(SOURCES)).toEqual([])
  })

  it('has a row in the table for every folder and file at the top of src', () => {
    const names = new Set(SOURCES.map(({ path }) => path.split('/')[1]))
    expect([...names].filter(name => !Object.hasOwn(MAY_IMPORT, name!))).toEqual([])
  })

  it('has no file above 400 lines', () => {
    expect(longFiles(ALL)).toEqual([])
  })

  it('has no default exports but the test runner configuration', () => {
    expect(defaultExports(ALL)).toEqual(['test/vitest.config.ts'])
  })

  it('has nothing marked as left undone', () => {
    expect(leftovers(ALL)).toEqual([])
  })
})

describe('the import table', () => {
  it('never leads round in a circle', () => {
    const reach = (folder: string): readonly string[] => {
      const next = (MAY_IMPORT[folder] ?? []).map(target => target.replace(/\/.*/, ''))
      return [...next, ...next.flatMap(reach)]
    }
    expect(Object.keys(MAY_IMPORT).filter(folder => reach(folder).includes(folder))).toEqual([])
  })
})

describe('importBreaches', () => {
  it.each([
    ['a static import', `import { libc } from '../host/libc.ts'`],
    ['an import over several lines', `import {\n  libc,\n  check,\n} from '../host/libc.ts'`],
    ['a type import', `import type { Pointer } from '../host/libc.ts'`],
    ['an import for its effect', `import '../host/libc.ts'`],
    ['a namespace import', `import * as c from "../host/libc.ts"`],
    ['a re-export', `export { libc } from '../host/libc.ts'`],
    ['a re-export of everything', `export * from '../host/libc.ts'`],
    ['a dynamic import', `const c = await import('../host/libc.ts')`],
    ['an import inside a type', `type C = typeof import('../host/libc.ts')`],
  ])('finds %s against the direction', (_, text) => {
    expect(importBreaches([{ path: 'src/devices/serial.ts', text }])).toEqual([
      'src/devices/serial.ts imports src/host/libc.ts',
    ])
  })

  it('finds bun:ffi outside src/host and allows it inside', () => {
    const text = `import { dlopen } from 'bun:ffi'`
    const files = ['src/kvm/kvm.ts', 'src/host/libc.ts', 'src/cli.ts'].map(path => ({ path, text }))
    expect(importBreaches(files)).toEqual(['src/kvm/kvm.ts imports bun:ffi', 'src/cli.ts imports bun:ffi'])
  })

  it('allows one file of a folder where only that one is listed', () => {
    const payload = { path: 'src/rig/images.ts', text: `import { payload } from '../boot/payload.ts'` }
    const kernel = { path: 'src/rig/images.ts', text: `import { planBoot } from '../boot/kernel.ts'` }
    expect(importBreaches([payload, kernel])).toEqual(['src/rig/images.ts imports src/boot/kernel.ts'])
  })

  it('refuses a folder without a row, a path out of src and a computed import', () => {
    const files = [
      { path: 'src/stray/a.ts', text: `import { assert } from '../base/errors.ts'` },
      { path: 'src/base/a.ts', text: `import { guest } from '../../test/support/micro-guest.ts'` },
      { path: 'src/base/b.ts', text: 'const m = await import(`../host/$' + '{name}.ts`)' },
    ]
    expect(importBreaches(files)).toEqual([
      'src/stray/a.ts imports src/base/errors.ts',
      'src/base/a.ts imports test/support/micro-guest.ts, which is outside src',
      'src/base/b.ts imports something computed',
    ])
  })

  it('leaves packages, node modules and the same folder alone', () => {
    const text = `import { readFileSync } from 'node:fs'\nimport e from 'elfy'\nimport { Bus } from './bus.ts'`
    expect(importBreaches([{ path: 'src/bus/a.ts', text }])).toEqual([])
  })
})

describe('importsOf', () => {
  it('does not take prose for an import', () => {
    expect(importsOf(` * An example: import { Machine } from 'bulkhead'\n// import x from 'y'`)).toEqual([])
  })
})

describe('longFiles', () => {
  it('counts lines, not line ends', () => {
    const fits = { path: 'fits.ts', text: 'x\n'.repeat(400) }
    const long = { path: 'long.ts', text: 'x\n'.repeat(401) }
    expect(longFiles([fits, long])).toEqual(['long.ts has 401 lines'])
  })
})

describe('defaultExports', () => {
  it('finds a default export in both spellings', () => {
    const files = [
      { path: 'a.ts', text: `${'export'} default class A {}` },
      { path: 'b.ts', text: `const b = 1\nexport { b ${'as'} default }` },
      { path: 'c.ts', text: 'export const c = 1' },
    ]
    expect(defaultExports(files)).toEqual(['a.ts', 'b.ts'])
  })
})

describe('leftovers', () => {
  it('finds the marks as whole words', () => {
    const files = [
      { path: 'a.ts', text: `// ${'TO'}${'DO'}: later` },
      { path: 'b.ts', text: `/* ${'FIX'}${'ME'} */` },
      { path: 'c.ts', text: 'const method = 1' },
    ]
    expect(leftovers(files)).toEqual(['a.ts', 'b.ts'])
  })
})

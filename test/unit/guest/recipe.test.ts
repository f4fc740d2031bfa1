import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { readRecipe } from '../../../src/guest/recipe.ts'

describe('readRecipe', () => {
  it('gives a recipe whose console is where the hypervisor listens', () => {
    const { recipe } = readRecipe()

    expect(recipe.params.split(' ')).toContain('console=ttyS0')
    expect(recipe.kernel).toMatch(/^linux-image-.*\*/)
  })

  it('reads an init that the kernel can start and a shell can parse', () => {
    const { init } = readRecipe()

    expect(init.startsWith('#!/bin/sh\n')).toBe(true)
    expect(spawnSync('/bin/sh', ['-n'], { input: init, encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
  })
})

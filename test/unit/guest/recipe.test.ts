import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { projectFile } from '../../../src/base/project.ts'
import { readRecipe } from '../../../src/guest/recipe.ts'

describe('readRecipe', () => {
  it('gives a recipe whose console is where the hypervisor listens', () => {
    const { recipe } = readRecipe()

    expect(recipe.params.split(' ')).toContain('console=ttyS0')
    expect(recipe.kernel).toMatch(/^linux-image-.*\*/)
  })

  it('reads an init that a shell can run', () => {
    expect(readRecipe().init.startsWith('#!/bin/sh\n')).toBe(true)
    expect(existsSync(projectFile('guests/default/init'))).toBe(true)
  })
})

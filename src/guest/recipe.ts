/** guests/default/recipe.json: what the default guest is made of. */
import { readFileSync } from 'node:fs'
import { projectFile } from '../base/project.ts'

/** The recipe, as it is written. */
export interface Recipe {
  /** Name of the kernel's package; `*` stands for any characters, and the newest version is taken. */
  readonly kernel: string
  readonly packages: readonly string[]
  /** Loaded by init. */
  readonly loadedModules: readonly string[]
  /** There for `modprobe`. */
  readonly modules: readonly string[]
  readonly params: string
}

/** The recipe as text, for the cache's key, and parsed; and the init script that goes with it. */
export interface RecipeFiles {
  readonly text: string
  readonly recipe: Recipe
  readonly init: string
}

/** Reads what belongs to the default guest in this version of the project. */
export function readRecipe(): RecipeFiles {
  const text = readFileSync(projectFile('guests/default/recipe.json'), 'utf8')
  const init = readFileSync(projectFile('guests/default/init'), 'utf8')
  return { text, recipe: JSON.parse(text) as Recipe, init }
}

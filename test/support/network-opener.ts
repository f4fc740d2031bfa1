/** A process that opens a network from the configuration in its first argument, and says how that went. */
import { openNetwork } from '../../src/machine/device/network.ts'

try {
  const { plan, resources } = await openNetwork(JSON.parse(process.argv[2] as string))
  await resources[Symbol.asyncDispose]()
  process.stdout.write(`open ${plan.name}\n`)
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`)
}

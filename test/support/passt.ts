/** Whether this host can run passt. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Why it cannot. */
export function missingPasst(): string | undefined {
  if (spawnSync('passt', ['--version']).status !== 0) return 'passt is not installed'
  const routes = readFileSync('/proc/net/route', 'utf8').split('\n')
  return routes.some(line => line.split('\t')[1] === '00000000') ? undefined : 'there is no IPv4 route to share'
}

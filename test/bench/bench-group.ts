/** Tests of the bench guest that run in one machine after the other, round by round, and what their figures are. */
import { type Report, runBenchGuest } from './bench-guest.ts'
import type { BenchMachine, BenchParts } from './bench-machines.ts'
import { median } from './table.ts'

const ROUNDS = 3

/** A test, and the figure of it that is compared. */
export interface Row {
  readonly name: string
  readonly word: string
  /** Latency: less is better. Rates and bandwidths: more is. */
  readonly metric: 'median' | 'rate' | 'bandwidth'
}

export interface Group {
  readonly title: string
  /** Run before the rows in each machine, and not reported: a JIT compiler needs a second of work to get going. */
  readonly warmUp: string
  readonly machines: readonly BenchMachine[]
  readonly rows: readonly Row[]
}

export const latency = (name: string, word: string): Row => ({ name, word, metric: 'median' })
export const rate = (name: string, word: string): Row => ({ name, word, metric: 'rate' })
export const bandwidth = (name: string, word: string): Row => ({ name, word, metric: 'bandwidth' })

/** The reports of a group's machines, one a round; the machines take turns. */
export async function measure(group: Group, parts: BenchParts, tscKhz: number): Promise<readonly Report[][]> {
  const [reports = []] = await measureTogether([group], parts, tscKhz)
  return reports
}

/** The same for several groups whose figures are compared: all of their machines take turns. */
export async function measureTogether(
  groups: readonly Group[],
  parts: BenchParts,
  tscKhz: number,
): Promise<readonly (readonly Report[][])[]> {
  const reports: Report[][][] = groups.map(({ machines }) => machines.map(() => []))
  // The first round warms up the page cache.
  for (let round = 0; round <= ROUNDS; round++)
    for (const [i, { machines, rows, warmUp }] of groups.entries()) {
      const words = [`tsc_khz=${tscKhz}`, warmUp, ...rows.map(row => row.word)].join(' ')
      for (const [j, machine] of machines.entries()) {
        const report = await runBenchGuest(machine.command(parts, words))
        if (round > 0) reports[i]?.[j]?.push(report)
      }
    }
  return reports
}

/** The figure in each round. */
export function figures({ word, metric }: Row, reports: readonly Report[]): readonly number[] {
  return reports.map(report => report.get(`${word}.${metric}`) ?? Number.NaN)
}

/** Cells: each machine's median; how many times as fast the first is as the second, and as the best of the others. */
export function compareMachines(row: Row, reports: readonly Report[][]): readonly string[] {
  const samples = reports.map(runs => figures(row, runs))
  const [own = [], peer = []] = samples
  const best = samples.slice(1).reduce((a, b) => (speedup(row, median(b), median(a)) > 1 ? b : a))
  const cells = samples.map(values => format(row, median(values)))
  return [...cells, ...compare(row, own, peer), compare(row, own, best)[0] ?? '']
}

/** The median of the rounds' ratios, and the least and the greatest of them. */
export function compare(row: Row, own: readonly number[], peer: readonly number[]): readonly string[] {
  const all = ratios(row, own, peer)
  return [median(all).toFixed(2), `${Math.min(...all).toFixed(2)}-${Math.max(...all).toFixed(2)}`]
}

/** How many times as fast, in each round. */
export function ratios(row: Row, own: readonly number[], peer: readonly number[]): readonly number[] {
  return own.map((value, round) => speedup(row, value, peer[round] ?? Number.NaN))
}

export function format(row: Row, value: number): string {
  if (row.metric === 'median') return `${(value / 1000).toFixed(1)} us`
  return row.metric === 'rate' ? `${(value / 1000).toFixed(1)} k/s` : `${value.toFixed(0)} MB/s`
}

function speedup(row: Row, own: number, peer: number): number {
  return row.metric === 'median' ? peer / own : own / peer
}

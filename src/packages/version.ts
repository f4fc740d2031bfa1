/** Order of Debian package versions, Debian Policy §5.6.12: `[epoch:]upstream[-revision]`. */

/** Negative, zero or positive as `a` is older than, as old as or newer than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)]
  return (
    left.epoch - right.epoch || comparePart(left.upstream, right.upstream) || comparePart(left.revision, right.revision)
  )
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':')
  const rest = version.slice(colon + 1)
  const dash = rest.lastIndexOf('-')
  return {
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)),
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? '' : rest.slice(dash + 1),
  }
}

/** Runs of other characters and runs of digits alternate; the first difference decides. */
function comparePart(a: string, b: string): number {
  const [left, right] = [runs(a), runs(b)]
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const order =
      index % 2 === 0
        ? compareText(left[index] ?? '', right[index] ?? '')
        : Number(left[index] ?? 0) - Number(right[index] ?? 0)
    if (order !== 0) return order
  }
  return 0
}

/** `+deb12u1` is `+deb`, `12`, `u`, `1`: text first, digits at odd places. */
function runs(part: string): readonly string[] {
  return [...part.matchAll(/(\D*)(\d*)/g)].flatMap(match => [match[1] ?? '', match[2] || '0'])
}

function compareText(a: string, b: string): number {
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const order = weight(a[index]) - weight(b[index])
    if (order !== 0) return order
  }
  return 0
}

/** A tilde sorts before the end, the end before letters, letters before all else. */
function weight(character: string | undefined): number {
  if (character === undefined) return 0
  if (character === '~') return -1
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256
}

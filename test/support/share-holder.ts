/** A process that shares the folder of its first argument until it is killed. */
import { openShare } from '../../src/machine/device/share.ts'

await openShare({ kind: 'share', path: process.argv[2] ?? '', tag: 'data', readOnly: process.argv[3] === 'ro' })
process.stdout.write('shared\n')
setInterval(() => {}, 60_000)

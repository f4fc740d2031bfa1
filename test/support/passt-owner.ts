/** A process that starts passt, says which process that is, and waits to be killed. */
import { Passt } from '../../src/backend/passt.ts'

const passt = await Passt.start({ program: 'passt', mtu: 1400, mac: Uint8Array.of(2, 0, 0, 0, 0, 1), forwards: [] })
process.stdout.write(`${passt.pid}\n`)
setInterval(() => {}, 1000)

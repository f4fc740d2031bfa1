import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { guestTools, mountTools } from '../support/guest-tools.ts'
import { factsOf, prepareGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { inGuest, startOnRig } from '../support/rig-host.ts'

const DATA = randomBytes(4 * 2 ** 20)
const SUM = `${createHash('sha256').update(DATA).digest('hex')}  -`

let folder: string
let place: Place
beforeAll(async () => {
  await prepareGuest()
  place = new Place({ ownCache: false })
  folder = mkdtempSync(join(tmpdir(), 'bh-vsock-'))
  writeFileSync(join(folder, 'data'), DATA)
}, SETUP_LIMIT_MS)
afterAll(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

describe('sockets between guest and host', () => {
  it('connect either side to the other, carry data whole, and are refused where nobody listens', async () => {
    const guest = inGuest(
      '--vsock 7,/tmp/guest.sock -d $1,ro -d $2,ro',
      `${mountTools('/dev/vdb')}
      driver=/sys/bus/virtio/drivers/vmw_vsock_virtio_transport
      device=$(basename $driver/virtio*)
      echo $device >$driver/unbind && echo $device >$driver/bind && echo "driver: back"
      socat -u VSOCK-LISTEN:1234 - | sha256sum | sed 's/^/into-guest: /' &
      socat -u FILE:/dev/vda VSOCK-LISTEN:1235 &
      socat -u FILE:/dev/vda VSOCK-CONNECT:2:5000
      echo "from-host: $(socat -u VSOCK-CONNECT:2:5001 - | sha256sum)"
      socat -u VSOCK-CONNECT:2:5999 - 2>/dev/null || echo "nobody-on-the-host: refused"
      wait`,
    )
    const script = `
      ${mountTools('$2')}
      cd /tmp
      socat -u UNIX-LISTEN:guest.sock_5000 - | sha256sum | sed 's/^/from-guest: /' &
      socat -u FILE:$1 UNIX-LISTEN:guest.sock_5001 &
      (
        until [ -S guest.sock_5001 ] && [ -S guest.sock ]; do usleep 100000; done
        # The guest listens some time after its socket is there; until then, a connection ends without the line OK.
        until (echo CONNECT 1234; cat $1) | socat -t 30 - UNIX-CONNECT:guest.sock 2>/dev/null | grep '^OK [0-9]*$' >/tmp/first
        do usleep 200000; done
        echo "first-line: $(sed 's/[0-9]/N/g; s/NN*/N/' /tmp/first)"
        echo "out-of-guest: $(echo CONNECT 1235 | socat -t 30 - UNIX-CONNECT:guest.sock | tail -n +2 | sha256sum)"
        echo CONNECT 4321 | socat - UNIX-CONNECT:guest.sock | wc -c | sed 's/^/nobody-in-the-guest: /'
      ) &
      ${guest}
      wait
    `
    const files = [join(folder, 'data'), await guestTools()]
    const { status, stdout, stderr } = await startOnRig(place, script, { files }).result
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(factsOf(stdout)).toMatchObject({
      driver: 'back',
      'into-guest': SUM,
      'out-of-guest': SUM,
      'from-guest': SUM,
      'from-host': SUM,
      'first-line': 'OK N',
      'nobody-on-the-host': 'refused',
      'nobody-in-the-guest': '0',
    })
    expect(place.leftovers()).toEqual([])
  })
})

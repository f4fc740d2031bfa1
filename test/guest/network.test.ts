import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Place } from '../support/bulkhead.ts'
import { guestTools, mountTools } from '../support/guest-tools.ts'
import { factsOf, prepareGuest, SETUP_LIMIT_MS } from '../support/linux-guest.ts'
import { inGuest, startOnRig } from '../support/rig-host.ts'

const MIB = 2 ** 20
const DATA = randomBytes(8 * MIB)
const SUM = `${createHash('sha256').update(DATA).digest('hex')}  -`
/** Status 0, and a million bytes or more received. */
const IPERF_OK = expect.stringMatching(/^0 [1-9][0-9]{6,}$/)

let folder: string
let place: Place
/** $1 and $2 on the host: data to copy, and tools. */
let files: readonly string[]
beforeAll(async () => {
  await prepareGuest()
  place = new Place({ ownCache: false })
  folder = mkdtempSync(join(tmpdir(), 'bh-network-'))
  writeFileSync(join(folder, 'data'), DATA)
  files = [join(folder, 'data'), await guestTools()]
}, SETUP_LIMIT_MS)
afterAll(() => {
  place[Symbol.dispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs the script on the emulated host. */
async function told(script: string) {
  const { status, stdout, stderr } = await startOnRig(place, script, { files, network: true }).result
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(place.leftovers()).toEqual([])
  return factsOf(stdout)
}

describe('a user-mode network', () => {
  it('gives an address, a name server, TCP both ways and a forwarded port', async () => {
    // The gateway's address leads to the host's loopback; the host's own name server is the emulator's. The upload is
    // short: the passt of Debian 12 resets a connection on which the host's side has sent nothing after 24 s.
    const guest = inGuest(
      '-n user,forward=2222:22 -d $2,ro',
      `${mountTools('/dev/vda')}
      echo "address: $(ip -o -4 address show eth0 | awk '{ print $4 }')"
      echo "gateway: $(ip route | awk '/^default/ { print $3 }')"
      echo "name-server: $(awk '/nameserver/ { print $2 }' /etc/resolv.conf)"
      nslookup host.test >/dev/null 2>&1; nslookup host.test 2>&1 | grep -qi "timed out" || echo "names: answered"
      echo "download: $(socat -u TCP:10.0.2.2:5001 - | sha256sum)"
      head -c ${2 * MIB} /dev/urandom >/tmp/up
      echo "sent: $(sha256sum </tmp/up)"
      socat -u FILE:/tmp/up TCP:10.0.2.2:5002
      socat -u TCP-LISTEN:22 - | sha256sum | sed 's/^/forwarded: /'`,
    )
    const script = `
      ${mountTools('$2')}
      socat -u FILE:$1 TCP-LISTEN:5001,bind=127.0.0.1 &
      socat -u TCP-LISTEN:5002,bind=127.0.0.1 - | sha256sum | sed 's/^/received: /' &
      (until socat -u FILE:$1 TCP:127.0.0.1:2222 2>/dev/null; do usleep 200000; done) &
      ${guest}
      usleep 200000
    `
    const facts = await told(script)
    expect(facts).toMatchObject({ address: '10.0.2.15/24', gateway: '10.0.2.2', 'name-server': '10.0.2.3' })
    expect(facts).toMatchObject({ names: 'answered', download: SUM, forwarded: SUM })
    expect(facts['received']).toBe(facts['sent'])
  })
})

describe('a tap', () => {
  it('with two queues carries TCP both ways, whole, in merged buffers and segments larger than a frame', async () => {
    const guest = inGuest(
      '-c 2 -n tap,ifname=tap0,queues=2 -d $2,ro',
      `${mountTools('/dev/vda')}
      ip address add 192.168.77.2/24 dev eth0
      echo "guest-queues: $(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)"
      # VIRTIO_NET_F_MRG_RXBUF is bit 15, from the left.
      echo "merged: $(cut -c16 /sys/class/net/eth0/device/features)"
      for feature in tcp-segmentation-offload generic-receive-offload rx-checksumming tx-checksumming; do
        echo "$feature: $(ethtool -k eth0 | grep "^$feature:" | cut -d' ' -f2)"
      done
      until ping -c 1 -W 1 192.168.77.1 >/dev/null; do :; done
      echo "download: $(socat -u TCP:192.168.77.1:5001 - | sha256sum)"
      head -c ${DATA.length} /dev/urandom >/tmp/up
      echo "sent: $(sha256sum </tmp/up)"
      socat -u FILE:/tmp/up TCP:192.168.77.1:5002
      for direction in '' -R; do
        iperf3 -c 192.168.77.1 -P 4 -n 4M $direction -J >/tmp/iperf
        echo "iperf$direction: $? $(awk '/"sum_received"/ { found = 1 } found && /"bytes"/ { print $2 + 0; exit }' /tmp/iperf)"
      done
      for queue in 0 1; do
        grep -E "virtio[0-9]+-(in|out)put.$queue\\$" /proc/interrupts |
          awk -v queue=$queue '{ sum += $2 + $3 } END { if (sum > 0) print "queue" queue ": used" }'
      done
      cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors | tr '\\n' ' ' | sed 's/^/errors: /'`,
    )
    const script = `
      ${mountTools('$2')}
      socat -u FILE:$1 TCP-LISTEN:5001 &
      socat -u TCP-LISTEN:5002 - | sha256sum | sed 's/^/received: /' &
      iperf3 -s -D
      (until ip link set tap0 up 2>/dev/null; do usleep 100000; done; ip address add 192.168.77.1/24 dev tap0) &
      ${guest}
      usleep 200000
    `
    const facts = await told(script)
    expect(facts).toMatchObject({ 'guest-queues': '2', merged: '1' })
    expect(facts).toMatchObject({ 'tcp-segmentation-offload': 'on', 'generic-receive-offload': 'on' })
    expect(facts).toMatchObject({ 'rx-checksumming': 'on', 'tx-checksumming': 'on' })
    expect(facts).toMatchObject({ download: SUM, queue0: 'used', queue1: 'used', errors: '0 0 ' })
    expect(facts['received']).toBe(facts['sent'])
    // What the sender sent last may not count at the receiver any more.
    expect([facts['iperf'], facts['iperf-R']]).toEqual([IPERF_OK, IPERF_OK])
  })
})

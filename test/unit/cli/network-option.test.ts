import { describe, expect, it } from 'vitest'
import { parseNetwork } from '../../../src/cli/network-option.ts'

const USER = { kind: 'network', mode: 'user' }
const TAP = { kind: 'network', mode: 'tap' }

describe('parseNetwork', () => {
  it.each([
    ['user', USER],
    ['mode=user', USER],
    ['tap', TAP],
    ['none', undefined],
    ['mode=none', undefined],
    ['user,mac=02:00:00:00:00:01', { ...USER, mac: '02:00:00:00:00:01' }],
    ['guest_mac=02:00:00:00:00:01,mode=user', { ...USER, mac: '02:00:00:00:00:01' }],
    ['user,mtu=1400,passt=/opt/passt', { ...USER, mtu: 1400, program: '/opt/passt' }],
    [
      'user,forward=2222:22,forward=80',
      {
        ...USER,
        forwards: [
          { host: 2222, guest: 22 },
          { host: 80, guest: 80 },
        ],
      },
    ],
    ['mode=tap,ifname=tap0,queues=4,mtu=9000', { ...TAP, interfaceName: 'tap0', queues: 4, mtu: 9000 }],
    ['mode=tap,tapif=tap0', { ...TAP, interfaceName: 'tap0' }],
    ['mode=tap,fd=7', { ...TAP, fds: [7] }],
    ['mode=tap,fd=7:8', { ...TAP, fds: [7, 8] }],
  ])('takes %s', (text, config) => {
    expect(parseNetwork(text)).toEqual(config)
  })

  it.each([
    ['', '--network is user, tap, none or words such as'],
    ['bridge', 'not "bridge"'],
    ['mode=bridge', '--network mode must be one of user, tap, none, not "bridge"'],
    ['mac=02:00:00:00:00:01', '--network needs one mode=user|tap|none'],
    ['mode=user,mode=tap', '--network needs one mode=user|tap|none'],
    ['user,mode=tap', 'mode=user takes mac, mtu, forward, passt, not "mode"'],
    ['user,', 'not ""'],
    ['user,mac', 'not "mac"'],
    ['user,mac=', 'not "mac="'],
    ['user,=1', 'not "=1"'],
    ['user,ifname=tap0', 'mode=user takes mac, mtu, forward, passt, not "ifname"'],
    ['tap,forward=1:1', 'mode=tap takes mac, mtu, ifname, queues, fd, not "forward"'],
    ['tap,script=/etc/up', 'not "script"'],
    ['none,mac=02:00:00:00:00:01', 'mode=none takes nothing else, not "mac"'],
    ['user,mtu=1400,mtu=1500', '--network has mtu twice'],
    ['user,mtu=big', '--network mtu must be a whole number from 68 to 65535, not "big"'],
    ['user,forward=1:2:3', '--network forward must be HOSTPORT:GUESTPORT, not "1:2:3"'],
    ['user,forward=0:22', '--network forward must be a whole number from 1 to 65535, not "0"'],
    ['tap,queues=0', '--network queues must be a whole number from 1 to 16, not "0"'],
    ['tap,fd=2', '--network fd must be a whole number from 3 to 65535, not "2"'],
    ['tap,fd=3:x', '--network fd must be a whole number'],
  ])('refuses "%s"', (text, message) => {
    expect(() => parseNetwork(text)).toThrow(message)
  })
})

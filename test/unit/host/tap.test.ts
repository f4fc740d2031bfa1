import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { closeFd } from '../../../src/host/fd.ts'
import {
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_VNET_HDR,
  interfaceMtu,
  openTap,
  setInterfaceMtu,
  setInterfaceUp,
  setTapHeaderSize,
  setTapOffload,
  setTapQueue,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  tapInterface,
} from '../../../src/host/tap.ts'
import { describeUnless } from '../../support/skip.ts'
import { missingTap, tapName } from '../../support/tap.ts'

describeUnless(missingTap(), 'openTap', () => {
  it('makes an interface that goes when it is closed', () => {
    const name = tapName('a')
    const tap = openTap(name, false)
    expect(tap.name).toBe(name)
    expect(tapInterface(tap.fd)).toEqual({ name, flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR })
    closeFd(tap.fd)
    expect(existsSync(`/sys/class/net/${name}`)).toBe(false)
  })

  it('leaves the name to the kernel', () => {
    const tap = openTap('', false)
    expect(tap.name).toMatch(/^tap\d+$/)
    closeFd(tap.fd)
  })

  it('opens several queues of one interface, which can be put out of use and back', () => {
    const name = tapName('b')
    const queues = [openTap(name, true), openTap(name, true)]
    expect(tapInterface(queues[1]?.fd as number).flags & IFF_MULTI_QUEUE).toBe(IFF_MULTI_QUEUE)
    const second = queues[1]?.fd as number
    setTapQueue(second, false)
    expect(() => setTapQueue(second, false)).toThrow('ioctl(TUNSETQUEUE) failed: EINVAL')
    setTapQueue(second, true)
    for (const { fd } of queues) closeFd(fd)
  })

  it('takes header size and offloads', () => {
    const tap = openTap('', false)
    setTapHeaderSize(tap.fd, 12)
    setTapOffload(tap.fd, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
    expect(() => setTapOffload(tap.fd, 0x1000)).toThrow('ioctl(TUNSETOFFLOAD) failed: EINVAL')
    expect(() => setTapHeaderSize(tap.fd, 2)).toThrow('ioctl(TUNSETVNETHDRSZ) failed: EINVAL')
    closeFd(tap.fd)
  })

  it('names the call for an interface that is in use', () => {
    const tap = openTap('', false)
    expect(() => openTap(tap.name, false)).toThrow('ioctl(TUNSETIFF) failed: EBUSY')
    closeFd(tap.fd)
  })
})

describeUnless(missingTap(), 'setInterfaceUp', () => {
  it('brings it up with the MTU that it was given', () => {
    const tap = openTap(tapName('c'), false)
    setInterfaceMtu(tap.name, 4000)
    setInterfaceUp(tap.name)
    expect(interfaceMtu(tap.name)).toBe(4000)
    expect(Number(readFileSync(`/sys/class/net/${tap.name}/flags`, 'utf8')) & 1).toBe(1)
    closeFd(tap.fd)
  })
})

/**
 * What the host does with a PCI device at the moment: mounted disks, swap, network interfaces that are up, the display it
 * booted with, guests. So that taking the host's own root disk from it is not one typo away.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { groupDevices, type HostDevice, isVfioBound } from './host-devices.ts'

/** linux/if.h */
const IFF_UP = 1

/** Where the host's file systems are. */
export interface UseFolders {
  readonly sysfs: string
  readonly proc: string
}

const SYSTEM: UseFolders = { sysfs: '/sys', proc: '/proc' }

/** A few words for each thing that would suffer if the device were taken away: "nvme0n1p1 is mounted on /". */
export function deviceUses(device: HostDevice, folders: UseFolders = SYSTEM): readonly string[] {
  const disks = new Set(below(device.address, folders.sysfs, 'block').map(visibleDisk))
  addUpper(disks, folders.sysfs)
  return [
    ...diskUses(disks, folders),
    ...networkUses(device.address, folders),
    ...displayUses(device, folders),
    ...processUses(device, disks, folders),
  ]
}

function diskUses(disks: ReadonlySet<string>, { sysfs, proc }: UseFolders): readonly string[] {
  const numbers = new Map([...disks].map(disk => [text(join(sysfs, 'class/block', disk, 'dev')), disk]))
  const uses = new Set<string>()
  for (const line of lines(join(proc, 'self/mountinfo'))) {
    // "36 35 98:0 /root /mount/point options - type source options", proc_pid_mountinfo(5). The numbers of a btrfs are
    // of no disk, so its source is looked at as well.
    const [fields = '', rest = ''] = line.split(' - ')
    const [, , number = '', , point = ''] = fields.split(' ')
    const disk = numbers.get(number) ?? named(disks, rest.split(' ')[1])
    if (disk !== undefined) uses.add(`${disk} is mounted on ${unescaped(point)}`)
  }
  for (const line of lines(join(proc, 'swaps'))) {
    const disk = named(disks, line.split(/\s/)[0])
    if (disk !== undefined) uses.add(`${disk} is swap space`)
  }
  return [...uses]
}

/** The path "nvme0c1n1" of a controller with several ports shows as "nvme0n1". */
function visibleDisk(name: string): string {
  return name.replace(/^(nvme\d+)c\d+(n\d+)/, '$1$2')
}

/** Partitions of the disks, and what is made of them: LVM, RAID, encryption. */
function addUpper(disks: Set<string>, sysfs: string): void {
  // A set that grows while it is walked; each name is added once.
  for (const disk of disks) {
    const folder = join(sysfs, 'class/block', disk)
    for (const holder of names(join(folder, 'holders'))) disks.add(holder)
    for (const part of names(folder)) if (part.startsWith(disk)) disks.add(part)
  }
}

/** Which of the disks a path in /dev, possibly a link such as /dev/mapper/root, is. */
function named(disks: ReadonlySet<string>, path = ''): string | undefined {
  if (!path.startsWith('/')) return undefined
  const name = basename(real(path) ?? path)
  return disks.has(name) ? name : undefined
}

function networkUses(address: string, { sysfs }: UseFolders): readonly string[] {
  return below(address, sysfs, 'net')
    .filter(name => (Number(text(join(sysfs, 'class/net', name, 'flags'))) & IFF_UP) !== 0)
    .map(name => `${name} is up`)
}

function displayUses({ address, driver }: HostDevice, { sysfs }: UseFolders): readonly string[] {
  const isBoot = driver !== undefined && text(join(sysfs, 'bus/pci/devices', address, 'boot_vga')) === '1'
  return isBoot && !driver.includes('vfio') ? ['it is the display that the host booted with'] : []
}

/** Processes that have a disk or the group's file open; those of other users are only seen by root. */
function processUses(
  { group }: HostDevice,
  disks: ReadonlySet<string>,
  { sysfs, proc }: UseFolders,
): readonly string[] {
  const files = new Map([...disks].map(disk => [`/dev/${disk}`, disk]))
  if (group !== undefined && groupDevices(group, sysfs).some(isVfioBound)) files.set(`/dev/vfio/${group}`, 'it')
  // Most devices have neither, and a host has many devices and many open files.
  if (files.size === 0) return []
  return names(proc)
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap(pid => {
      const open = names(join(proc, pid, 'fd')).map(fd => files.get(link(join(proc, pid, 'fd', fd)) ?? ''))
      const held = new Set(open.filter(name => name !== undefined))
      return [...held].map(name => `process ${pid} (${text(join(proc, pid, 'comm'))}) has ${name} open`)
    })
}

/** Names of a class whose devices are behind the PCI device. */
function below(address: string, sysfs: string, kind: string): readonly string[] {
  const folder = join(sysfs, 'class', kind)
  return names(folder).filter(name => real(join(folder, name))?.includes(`/${address}/`) === true)
}

/** Spaces and the like of mountinfo, which are in octal. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

// Everything below may vanish while it is looked at: a process ends, a disk is unplugged.

function names(folder: string): readonly string[] {
  return attempt(() => readdirSync(folder).sort()) ?? []
}

function lines(path: string): readonly string[] {
  return text(path).split('\n')
}

function text(path: string): string {
  return attempt(() => readFileSync(path, 'utf8').trim()) ?? ''
}

function link(path: string): string | undefined {
  return attempt(() => readlinkSync(path))
}

function real(path: string): string | undefined {
  return attempt(() => realpathSync(path))
}

function attempt<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}

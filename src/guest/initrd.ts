/** The default guest's initramfs, written from unpacked packages. */
import { CpioBuilder } from '../packages/cpio.ts'
import { moduleName, modulesAlias, modulesDep } from '../packages/modules.ts'
import { addBusybox, readModules } from '../packages/unpacked.ts'
import type { Recipe } from './recipe.ts'

const FOLDERS = ['proc', 'sys', 'dev', 'tmp', 'run', 'root', 'bulkhead/dev/pts', 'bulkhead/dev/shm', 'mnt'] as const

const FSTAB = `proc /proc proc
sys /sys sysfs
pts /dev/pts devpts mode=620,gid=5,ptmxmode=666
shm /dev/shm tmpfs mode=1777
run /run tmpfs mode=755
tmp /tmp tmpfs mode=1777
`

/** What udhcpc calls with the lease in its environment. */
const DHCP = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip address flush dev "$interface"
ip address add "$ip/\${mask:-24}" dev "$interface"
for via in $router; do ip route add "$via" dev "$interface"; ip route add default via "$via" dev "$interface"; done
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
`

/** Builds the archive; `init` is guests/default/init, which names what it needs of all this. */
export function defaultInitrd(unpacked: string, release: string, recipe: Recipe, init: string): Uint8Array {
  const archive = new CpioBuilder()
  addBusybox(archive, unpacked)
  archive.symlink('sbin', 'bin').symlink('usr/bin', '../bin').symlink('usr/sbin', '../bin')
  for (const folder of FOLDERS) archive.directory(folder)
  // Links that devtmpfs does not make; init copies them there.
  archive.symlink('bulkhead/dev/fd', '/proc/self/fd')
  for (const [number, name] of ['stdin', 'stdout', 'stderr'].entries())
    archive.symlink(`bulkhead/dev/${name}`, `/proc/self/fd/${number}`).fifo(`bulkhead/${name}`)
  archive
    .device('dev/console', 'char', 5, 1)
    .file('init', init, 0o755)
    .file('etc/fstab', FSTAB)
    .file('bulkhead/dhcp', DHCP, 0o755)
    .file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n')
    .file('etc/group', 'root:x:0:\ntty:x:5:\n')
    .file('etc/acpi/PWRF/00000080', '#!/bin/sh\nexec poweroff -f\n', 0o755)
    .file('bulkhead/modules', recipe.loadedModules.map(name => `${moduleName(name)}\n`).join(''))
  const modules = readModules(unpacked, release, [...recipe.loadedModules, ...recipe.modules])
  for (const module of modules) archive.file(`lib/modules/${release}/${module.path}`, module.image)
  archive
    .file(`lib/modules/${release}/modules.dep`, modulesDep(modules))
    .file(`lib/modules/${release}/modules.alias`, modulesAlias(modules))
  return archive.build()
}

/** Placeholder until the real one lands. */
import type { Log } from '../base/log.ts'
export async function prepareDefaultGuest(_options: { log: Log }) {
  return { kernel: '/tmp/gx/vmlinux', bzImage: '', initrd: '/tmp/gx/initrd', params: 'console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check', release: '6.12' }
}

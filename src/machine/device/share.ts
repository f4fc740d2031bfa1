/** A directory that the guest mounts with virtiofs: the main thread's part. */
import { resolve } from 'node:path'
import type { VhostUserOffer } from '../../backend/vhost-user.ts'
import type { VhostUserLink } from '../../backend/vhost-user-link.ts'
import { VhostUserProgram } from '../../backend/vhost-user-program.ts'
import { virtiofsdCommands } from '../../backend/vhost-user-virtiofsd.ts'
import { HostError } from '../../base/errors.ts'
import { VIRTIO_F_VERSION_1 } from '../../virtio/features.ts'
import type { OpenDevice } from './environment.ts'
import { checkFolder, checkTag, type ShareConfig } from './share-config.ts'

export type { ShareConfig } from './share-config.ts'

/** The high priority queue and a request queue. */
const FS_QUEUES = 2

/** Plain data for the device thread. */
export interface SharePlan {
  readonly tag: string
  readonly offer: VhostUserOffer
  readonly link: VhostUserLink
}

/** Starts virtiofsd for the directory; throws `BadInput` or `HostError` and leaves nothing behind. */
export async function openShare(config: ShareConfig): Promise<OpenDevice<SharePlan>> {
  const { tag, readOnly = false } = config
  checkTag(tag)
  checkFolder(config.path)
  const folder = resolve(config.path)
  const program = config.program === undefined ? {} : { program: config.program }
  const commands = virtiofsdCommands({ folder, readOnly, ...program })
  const resources = await VhostUserProgram.start(commands).catch((cause: unknown) => {
    const how = readOnly ? ' read-only' : ''
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new HostError(`cannot share ${folder}${how} by virtiofsd: ${reason}`, { cause })
  })
  const problem = missingIn(resources.offer)
  if (problem !== undefined) {
    await resources[Symbol.asyncDispose]()
    throw new HostError(`cannot share ${folder}: virtiofsd ${problem}`)
  }
  return { plan: { tag, offer: resources.offer, link: resources.link }, resources }
}

/** What the device cannot do without. */
function missingIn({ features, queues = FS_QUEUES }: VhostUserOffer): string | undefined {
  if ((features & VIRTIO_F_VERSION_1) === 0n) return 'does not know VIRTIO 1'
  return queues < FS_QUEUES ? `serves ${queues} queues, and ${FS_QUEUES} are needed` : undefined
}

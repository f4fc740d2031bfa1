/**
 * What a disk's back end costs, without guest and queue: 4 KiB requests at random places of a file that is in the page
 * cache, at depth 1 and 32, by each way to the host. The baseline is a loop of preadv or pwritev.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Disk } from '../../src/backend/disk.ts'
import { ThreadIo } from '../../src/backend/disk-thread.ts'
import { CBuffer } from '../../src/host/c-buffer.ts'
import { EventLoop } from '../../src/host/event-loop.ts'
import { EventFd } from '../../src/host/eventfd.ts'
import { readVector, unlockFile, writeVector } from '../../src/host/file.ts'
import { IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_READV, IoUring } from '../../src/host/io-uring.ts'
import { openDisk } from '../../src/machine/device/disk.ts'
import type { DiskConfig } from '../../src/machine/device/disk-config.ts'
import { Extents } from '../../src/memory/extents.ts'
import { Ram, viewRam } from '../../src/memory/ram.ts'
import { BlockOp, type BlockRequest } from '../../src/virtio/blk-backend.ts'
import { median, medianRatio, printTable, spread } from './table.ts'

const FILE_BYTES = 64 * 2 ** 20
const BLOCK = 4096
const DEPTHS = [1, 32]
const MOST = Math.max(...DEPTHS)
const REQUESTS = 4096
const ROUNDS = 15

/** Does `REQUESTS` requests, `depth` at a time. */
type Run = (depth: number) => void

interface Candidate {
  readonly name: string
  readonly write: boolean
  readonly run: Run
}

/** Measures and prints. */
export async function disk(): Promise<void> {
  await using opened = new AsyncDisposableStack()
  const directory = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  opened.defer(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'disk.img')
  writeInPages(path)
  const ram = opened.use(Ram.create([{ start: 0, size: FILE_BYTES }]))
  viewRam(ram.blocks).bytesAt(0, FILE_BYTES).fill(1)
  const candidates: Candidate[] = [
    ...(await plainCalls(path, ram, opened)),
    ...(await rawRings(path, ram, opened)),
    ...(await disks(path, ram, opened)),
  ]
  for (const write of [false, true])
    for (const depth of DEPTHS)
      report(
        `disk back end, 4 KiB ${write ? 'writes to' : 'reads from'} the page cache, depth ${depth}`,
        candidates.filter(candidate => candidate.write === write),
        depth,
      )
}

function report(title: string, candidates: readonly Candidate[], depth: number): void {
  const values = candidates.map(() => [] as number[])
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++)
    for (const [i, { run }] of candidates.entries()) {
      const start = Bun.nanoseconds()
      run(depth)
      if (round > 0) values[i]!.push((Bun.nanoseconds() - start) / REQUESTS)
    }
  printTable(
    title,
    ['', 'best ns/request', 'median', 'spread', 'ratio'],
    candidates.map(({ name }, i) => [
      name,
      Math.min(...values[i]!).toFixed(0),
      median(values[i]!).toFixed(0),
      `${(spread(values[i]!) * 100).toFixed(0)} %`,
      medianRatio(values[i]!, values[0]!).toFixed(2),
    ]),
  )
}

/** Page by page: in the large folios of one large write ext4 takes 13 us to change a page, and a guest makes none. */
function writeInPages(path: string): void {
  const file = openSync(path, 'w')
  const page = new Uint8Array(BLOCK).fill(7)
  for (let i = 0; i < FILE_BYTES / BLOCK; i++)
    writeSync(file, page, 0, BLOCK, ((i * 7919) % (FILE_BYTES / BLOCK)) * BLOCK)
  closeSync(file)
}

/** Places in the file, the same for all. */
const OFFSETS = Float64Array.from({ length: REQUESTS }, (_, i) => ((i * 7919) % (FILE_BYTES / BLOCK)) * BLOCK)

async function plainCalls(path: string, ram: Ram, opened: AsyncDisposableStack): Promise<Candidate[]> {
  const { plan } = await open({ path, io: 'uring' }, opened)
  const iovecs = iovecsFor(ram)
  const loop = (call: (address: number, offset: number) => number): Run => {
    return () => {
      for (let i = 0; i < REQUESTS; i++)
        if (call((iovecs.pointer as number) + 16 * (i % MOST), OFFSETS[i]!) !== BLOCK)
          throw new Error('a short transfer')
    }
  }
  return [
    { name: 'preadv', write: false, run: loop((address, offset) => readVector(plan.fd, address, 1, offset, 0)) },
    { name: 'pwritev', write: true, run: loop((address, offset) => writeVector(plan.fd, address, 1, offset)) },
  ]
}

async function rawRings(path: string, ram: Ram, opened: AsyncDisposableStack): Promise<Candidate[]> {
  const { plan } = await open({ path, io: 'uring' }, opened)
  const ring = opened.use(IoUring.create(256))
  ring.setFile(plan.fd)
  ring.setEventFd(opened.use(EventFd.create()).fd)
  ring.setBuffers([{ address: ram.blocks[0]!.hostAddress, size: FILE_BYTES }])
  const iovecs = iovecsFor(ram)
  const start = ram.blocks[0]!.hostAddress
  const run = (opcode: number): Run => {
    const isVector = opcode === IORING_OP_READV
    return depth => {
      for (let i = 0; i < REQUESTS; i += depth) {
        ring.quiet()
        for (let d = 0; d < depth; d++) {
          const address = isVector ? (iovecs.pointer as number) + 16 * d : start + BLOCK * d
          ring.queue(opcode, d, OFFSETS[i + d]!, address, isVector ? 1 : BLOCK, 0)
        }
        for (let taken = 0; taken < depth; ) {
          ring.wait()
          while (ring.next()) taken++
        }
        ring.arm()
      }
    }
  }
  return [
    { name: 'io_uring alone, READ', write: false, run: run(IORING_OP_READ) },
    { name: 'io_uring alone, READV', write: false, run: run(IORING_OP_READV) },
    { name: 'io_uring alone, READ_FIXED', write: false, run: run(IORING_OP_READ_FIXED) },
  ]
}

async function disks(path: string, ram: Ram, opened: AsyncDisposableStack): Promise<Candidate[]> {
  const candidates: Candidate[] = []
  const kinds = [
    ['Disk on io_uring', { io: 'uring' }],
    ['Disk on io_uring, pinned', { io: 'uring', pinned: true }],
    ['Disk on a thread', { io: 'threads' }],
  ] as const
  for (const [name, config] of kinds) {
    const { disk, loop } = await openBackend({ path, ...config }, ram, opened)
    for (const write of [false, true]) candidates.push({ name, write, run: requests(disk, loop, ram, write) })
  }
  return candidates
}

function requests(disk: Disk, loop: EventLoop, ram: Ram, write: boolean): Run {
  const memory = viewRam(ram.blocks)
  const list = Array.from({ length: MOST }, (_, index) => {
    const data = new Extents(memory)
    data.add(index * BLOCK, BLOCK)
    const op: number = write ? BlockOp.write : BlockOp.read
    return { index, op, offset: 0, size: BLOCK, data, dataOffset: 0, unmap: false }
  })
  let done = 0
  const client = {
    completed(_request: BlockRequest, errno: number): void {
      if (errno !== 0) throw new Error(`errno ${errno}`)
      done++
    },
    settled(): void {},
  }
  return depth => {
    disk.attach(client)
    for (let i = 0; i < REQUESTS; i += depth) {
      done = 0
      for (let d = 0; d < depth; d++) {
        const request = list[d]!
        request.offset = OFFSETS[i + d]!
        disk.submit(request)
      }
      disk.kick()
      while (done < depth) loop.wait(-1)
    }
  }
}

async function openBackend(config: Omit<DiskConfig, 'kind'>, ram: Ram, opened: AsyncDisposableStack) {
  const { plan } = await open(config, opened)
  const loop = opened.use(new EventLoop())
  const event = new EventFd(plan.eventFd)
  const pinned = plan.pinned ? [{ address: ram.blocks[0]!.hostAddress, size: FILE_BYTES }] : []
  let io: IoUring | ThreadIo
  if (plan.channel === undefined) {
    io = IoUring.create(256)
    io.setFile(plan.fd)
    io.setEventFd(event.fd)
    if (pinned.length > 0) io.setBuffers(pinned)
  } else io = new ThreadIo(plan.channel)
  const { fd, size, readOnly, directAlignment, geometry } = plan
  const warn = (message: string) => console.error(message)
  const abandon = () => {}
  const disk = new Disk({
    path: plan.path,
    fd,
    size,
    readOnly,
    directAlignment,
    geometry,
    io,
    event,
    loop,
    pinned,
    warn,
    abandon,
  })
  opened.defer(() => disk.close())
  return { disk, loop }
}

/** Opens one of several writers of the file: its lock is given up, as they are all ours. */
async function open(config: Omit<DiskConfig, 'kind'>, opened: AsyncDisposableStack) {
  const { plan, resources } = await openDisk({ kind: 'disk', ...config }, 1)
  opened.use(resources)
  unlockFile(plan.fd)
  return { plan }
}

/** One block for each request under way. */
function iovecsFor(ram: Ram): CBuffer {
  const iovecs = new CBuffer(16 * MOST)
  for (let i = 0; i < MOST; i++) {
    iovecs.view.setBigUint64(16 * i, BigInt(ram.blocks[0]!.hostAddress + i * BLOCK), true)
    iovecs.view.setBigUint64(16 * i + 8, BigInt(BLOCK), true)
  }
  return iovecs
}

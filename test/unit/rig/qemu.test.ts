import { describe, expect, it } from 'vitest'
import { DRIVE_SLOTS, driveSlot, type Memory, machineShape, qemuArguments } from '../../../src/rig/qemu.ts'

const PROGRAM = { command: ['qemu'], env: {}, dataFolders: ['/data'] }
const SPEC = { memoryMiB: 1536, cpus: 2, kernel: '/k', initrd: '/i', params: 'quiet', bunDisk: '/bun.ext4' }
const PATHS = { socket: (name: string) => `/run/${name}`, console: '/run/console.log' }
const NOTHING = { drives: [], folders: [], devices: [] }

function argumentsFor(memory: Memory, files: readonly string[] = []): string[] {
  return qemuArguments(PROGRAM, SPEC, PATHS, memory, {
    ...NOTHING,
    drives: files.map(hostPath => ({ hostPath, writable: false })),
  })
}

/** Values of an option that may be given many times. */
function values(args: readonly string[], option: string): string[] {
  return args.filter((_, index) => args[index - 1] === option)
}

function blockDevices(args: readonly string[]): Record<string, unknown>[] {
  return values(args, '-blockdev').map(text => JSON.parse(text) as Record<string, unknown>)
}

describe('qemuArguments', () => {
  it('emulates SVM and an IOMMU with interrupt remapping', () => {
    const args = argumentsFor({ kind: 'own' })
    expect(values(args, '-cpu')).toEqual(['max'])
    expect(values(args, '-accel')).toEqual(['tcg,thread=multi'])
    expect(values(args, '-device')).toContain('intel-iommu,intremap=on,caching-mode=on')
  })

  it('leaves room for a CPU more, without which QEMU 7.2 leaves out memory barriers', () => {
    expect(values(argumentsFor({ kind: 'own' }), '-smp')).toEqual([`cpus=${SPEC.cpus},maxcpus=${SPEC.cpus + 1}`])
  })

  it.each([
    ['own', { kind: 'own' }, 'memory-backend-ram,id=ram,size=1536M', []],
    ['saved', { kind: 'save', path: '/s' }, 'memory-backend-file,id=ram,size=1536M,mem-path=/s,share=on', []],
    [
      'restored',
      { kind: 'restore', path: '/s' },
      'memory-backend-file,id=ram,size=1536M,mem-path=/s,share=off',
      ['defer'],
    ],
  ] as const)('gives a machine with %s memory the right back end', (_, memory, backend, incoming) => {
    const args = argumentsFor(memory)
    expect(values(args, '-object')).toEqual([backend])
    expect(values(args, '-incoming')).toEqual(incoming)
  })

  it('opens its memory to the servers of shared folders, and gives each folder a device', () => {
    const folders = [{ tag: 'folder0', socket: '/with,comma' }]
    const args = qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'open' }, { ...NOTHING, folders })
    expect(values(args, '-object')).toEqual(['memory-backend-memfd,id=ram,size=1536M,share=on'])
    expect(values(args, '-chardev')).toContain('socket,id=folder0,path=/with,,comma')
    expect(values(args, '-device')).toContain('vhost-user-fs-pci,chardev=folder0,tag=folder0')
  })

  it('gives devices for guests their places on the root bus, and what is behind them', () => {
    const devices = [{ kind: 'edu' }, { kind: 'nvme', path: '/d', writable: true }, { kind: 'edu' }] as const
    const args = qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'own' }, { ...NOTHING, devices })
    expect(values(args, '-device')).toEqual(
      expect.arrayContaining([
        'edu,addr=10.0,dma_mask=0xffffffff',
        'nvme,drive=device1,serial=bulkhead-device1,addr=11.0',
        'edu,addr=13.0,dma_mask=0xffffffff',
      ]),
    )
    expect(blockDevices(args).at(-1)).toMatchObject({
      'node-name': 'device1',
      'read-only': false,
      file: { filename: '/d' },
    })
  })

  it('puts devices of one group into one slot', () => {
    const devices = [{ kind: 'edu' }, { kind: 'edu', joins: true }] as const
    const args = qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'own' }, { ...NOTHING, devices })
    expect(values(args, '-device').filter(text => text.startsWith('edu'))).toEqual([
      'edu,addr=10.0,dma_mask=0xffffffff,multifunction=on',
      'edu,addr=10.1,dma_mask=0xffffffff,multifunction=on',
    ])
  })

  it('puts network cards on a hub of their own, with a second card for itself', () => {
    const devices = [{ kind: 'e1000e', rom: '/with,comma' }] as const
    const args = qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'own' }, { ...NOTHING, devices })
    expect(values(args, '-netdev')).toEqual([
      'user,id=network',
      'hubport,id=cards,hubid=0',
      'hubport,id=device0,hubid=0',
    ])
    expect(values(args, '-device')).toContain('virtio-net-pci,netdev=cards,romfile=,addr=01.0')
    expect(values(args, '-device')).toContain(
      'e1000e,netdev=device0,mac=52:54:00:00:00:12,romfile=/with,,comma,addr=12.0',
    )
  })

  it('refuses drives that would get into the slots of devices for guests', () => {
    const drives = Array.from({ length: 12 }, (_, index) => ({ hostPath: `/f${index}`, writable: false }))
    const devices = [{ kind: 'edu' }] as const
    expect(() => qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'own' }, { ...NOTHING, drives, devices })).toThrow(
      'room for 11 drives',
    )
  })

  it('has a network of its own, so that a saved state fits jobs with and without', () => {
    const args = argumentsFor({ kind: 'own' })
    expect(values(args, '-netdev')).toEqual(['user,id=network'])
    expect(values(args, '-device')).toContain('virtio-net-pci,netdev=network,romfile=,addr=04.0')
  })

  it('has the same devices whatever the job brings, so that a saved state fits', () => {
    const devices = values(argumentsFor({ kind: 'own' }), '-device')
    expect(values(argumentsFor({ kind: 'own' }, ['/a', '/b']), '-device')).toEqual(devices)
  })

  it('puts files in the first slots and leaves the others empty', () => {
    const drives = blockDevices(argumentsFor({ kind: 'own' }, ['/a']))
    expect(drives).toHaveLength(1 + DRIVE_SLOTS)
    expect(drives[1]).toMatchObject({ driver: 'raw', 'read-only': true, file: { filename: '/a' } })
    expect(drives[2]).toMatchObject({ driver: 'null-co' })
  })

  it('makes room for more files than there are slots', () => {
    const files = Array.from({ length: DRIVE_SLOTS + 2 }, (_, index) => `/f${index}`)
    expect(blockDevices(argumentsFor({ kind: 'own' }, files))).toHaveLength(1 + DRIVE_SLOTS + 2)
  })

  it('opens a writable file for writing, with a lock, and lets it have holes', () => {
    const drives = [{ hostPath: '/d', writable: true }]
    const args = qemuArguments(PROGRAM, SPEC, PATHS, { kind: 'own' }, { ...NOTHING, drives })
    expect(blockDevices(args)[1]).toMatchObject({ 'read-only': false, file: { locking: 'auto' } })
    expect(blockDevices(args)[1]).toMatchObject({ discard: 'unmap', file: { discard: 'unmap' } })
  })

  it.each(['/with,comma', '/with "quote', '/with space'])('passes the file %s as it is', path => {
    expect(blockDevices(argumentsFor({ kind: 'own' }, [path]))[1]).toMatchObject({ file: { filename: path } })
  })

  it('doubles commas in paths of key=value options', () => {
    expect(values(argumentsFor({ kind: 'save', path: '/a,b' }), '-object')[0]).toContain('mem-path=/a,,b,')
  })
})

describe('driveSlot', () => {
  it.each([
    [0, '05'],
    [4, '09'],
    [5, '0a'],
  ])('puts drive %i in PCI slot %s', (index, slot) => {
    expect(driveSlot(index)).toBe(slot)
  })

  it('names the slots that the devices have', () => {
    const devices = values(argumentsFor({ kind: 'own' }), '-device')
    expect(devices).toContain(`virtio-blk-pci,drive=drive${DRIVE_SLOTS - 1},addr=${driveSlot(DRIVE_SLOTS - 1)}.0`)
  })
})

describe('machineShape', () => {
  it('is the same each time', () => {
    expect(machineShape()).toBe(machineShape())
  })
})

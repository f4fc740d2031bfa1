/**
 * A fresh process that runs one micro-guest through the public API: writes the guest's first byte to stdout, then each
 * step and its wall-clock time in nanoseconds to stderr. Steps inside `Machine.start` are seen by wrapping the
 * methods that it calls. Nothing is imported statically, so that the runtime's own start can be told from the load.
 */
const marks: [string, number][] = []

function mark(name: string): void {
  marks.push([name, (performance.timeOrigin + performance.now()) * 1e6])
}

/** Marks the return of `method`. */
function watch<Method extends string>(
  owner: { [name in Method]: (...args: never[]) => unknown },
  method: Method,
  step: string,
): void {
  const original = owner[method]
  owner[method] = function (this: unknown, ...args: never[]) {
    const result = original.apply(this, args)
    mark(step)
    return result
  }
}

async function main(imagePath: string): Promise<void> {
  mark('runtime')
  const { readFileSync, writeSync } = await import('node:fs')
  const { Machine } = await import('../../src/index.ts')
  const { MachineWorker } = await import('../../src/machine/worker.ts')
  const { Kvm } = await import('../../src/kvm/kvm.ts')
  const { Vm } = await import('../../src/kvm/vm.ts')
  mark('module load')
  watch(Kvm, 'open', 'open KVM')
  watch(Kvm.prototype, 'maxVcpus', 'create Workers')
  watch(Kvm.prototype, 'createVm', 'KVM_CREATE_VM')
  watch(Vm.prototype, 'createIrqchip', 'KVM_CREATE_IRQCHIP')
  watch(Vm.prototype, 'createPit', 'KVM_CREATE_PIT2')
  watch(Vm.prototype, 'setMemory', 'memory')
  const { next, start } = MachineWorker.prototype
  MachineWorker.prototype.start = function (...args) {
    if (!marks.some(([name]) => name === 'load image')) mark('load image')
    start.apply(this, args)
  }
  MachineWorker.prototype.next = async function (type) {
    const message = await next.call(this, type)
    if (type === 'ready') mark('device thread ready')
    if (type === 'created') mark('vCPU ready')
    return message as never
  }

  const image = new Uint8Array(readFileSync(imagePath))
  await using machine = new Machine({ memoryMiB: 128, cpus: 1, kernel: { image, name: 'micro-guest' } })
  machine.consoles[0]?.onOutput(bytes => {
    writeSync(1, bytes)
    mark('first byte')
  })
  mark('plan')
  await machine.start()
  mark('all threads ready')
  await machine.finished
  const peakKiB = /^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  writeSync(2, `peak RSS KiB\t${peakKiB}\n`)
  writeSync(2, marks.map(([name, ns]) => `${name}\t${Math.round(ns)}\n`).join(''))
}

await main(process.argv[2] ?? '')

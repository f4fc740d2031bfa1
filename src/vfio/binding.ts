/**
 * Gives PCI devices to vfio-pci and back to the drivers that had them (Documentation/ABI/testing/sysfs-bus-pci:
 * driver_override, drivers_probe, bind, unbind). What had a device is noted in a file until it is given back, in a
 * folder that is gone after a reboot like the binding itself.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BadInput, HostError } from '../base/errors.ts'
import { deviceUses } from './device-use.ts'
import { type HostDevice, isVfioBound, normalizeAddress, pciDevice } from './host-devices.ts'

const DRIVER = 'vfio-pci'

/** What had the device before. */
interface Former {
  readonly driver: string | null
  readonly override: string | null
  /** The process that gives it back when it ends; absent: the user does. */
  readonly process?: number
}

const NOBODY: Former = { driver: null, override: null }

/** What binding does to the host. */
export interface BindingHost {
  readonly sysfs: string
  readonly proc: string
  /** The folder of the notes. */
  readonly notes: string
  /** Writes to a file of sysfs; throws with a `code`. */
  write(path: string, text: string): void
  /** Loads a kernel module; returns why not. */
  loadModule(name: string): string | undefined
}

/** How careful to be. */
export interface BindOptions {
  /** Also devices that are in use. */
  readonly force?: boolean
}

const SYSTEM: BindingHost = {
  sysfs: '/sys',
  proc: '/proc',
  notes: '/run/bulkhead/vfio',
  // Most of these files cannot be opened for reading, not even by root.
  write: (path, text) => writeFileSync(path, text, { flag: 'w' }),
  loadModule(name) {
    const { status, stderr, error } = spawnSync('modprobe', [name], { encoding: 'utf8' })
    return status === 0 ? undefined : (error?.message ?? stderr.trim())
  },
}

/**
 * The devices' way to vfio-pci and back.
 *
 * @example new Binding().bind(['0000:00:10.0'])
 */
export class Binding {
  constructor(private readonly host: BindingHost = SYSTEM) {}

  /**
   * Gives devices to vfio-pci; those that it has stay with it. All or none: throws `BadInput` or `HostError` and has then
   * given those back that it took.
   */
  bind(addresses: readonly string[], options: BindOptions = {}): void {
    const devices = this.devices(addresses)
    for (const device of devices) this.check(device, options)
    using taken = new DisposableStack()
    for (const device of devices) {
      if (isVfioBound(device)) {
        this.keep(device.address)
        continue
      }
      this.take(device)
      taken.defer(() => this.tryGiveBack(device.address))
    }
    taken.move()
  }

  /** Gives devices back to the drivers that had them; those that vfio-pci does not have stay where they are. */
  unbind(addresses: readonly string[], options: BindOptions = {}): void {
    const devices = this.devices(addresses)
    for (const device of devices) if (isVfioBound(device)) this.checkUse(device, 'unbind', options)
    const failures: Error[] = []
    for (const { address } of devices) {
      // One that fails does not keep the others.
      try {
        this.giveBack(address)
      } catch (error) {
        failures.push(error as Error)
      }
    }
    const [first, ...others] = failures
    if (first === undefined) return
    throw others.length === 0 ? first : new HostError(failures.map(({ message }) => message).join('; '))
  }

  /** Binds for as long as the result lives. A device that vfio-pci had already stays with it at the end. */
  withBound(address: string): Disposable {
    const device = this.device(address)
    const owner = { process: process.pid }
    if (!isVfioBound(device)) {
      this.check(device, {})
      this.take(device, owner)
    } else if (this.isLeftover(device.address))
      this.note(device.address, { ...(this.former(device.address) ?? NOBODY), ...owner })
    else return new DisposableStack()
    return { [Symbol.dispose]: () => this.giveBack(device.address) }
  }

  private device(address: string): HostDevice {
    return pciDevice(address, this.host.sysfs)
  }

  /** Each once, in the order in which they are named. */
  private devices(addresses: readonly string[]): readonly HostDevice[] {
    return [...new Set(addresses.map(normalizeAddress))].map(address => this.device(address))
  }

  private check(device: HostDevice, options: BindOptions): void {
    if (isVfioBound(device)) return
    const { address, isBridge, group } = device
    if (isBridge) throw new BadInput(`${address} is a bridge, which stays with the host: name the devices behind it`)
    if (group === undefined)
      throw new HostError(`${address} is in no IOMMU group, as the host has no IOMMU that is on: see bulkhead doctor`)
    this.checkUse(device, 'bind', options)
  }

  private checkUse(device: HostDevice, verb: string, { force }: BindOptions): void {
    if (force === true) return
    const uses = deviceUses(device, this.host)
    if (uses.length > 0)
      throw new BadInput(
        `${device.address} is in use (${uses.join(', ')}): end that, or do it all the same with ` +
          `bulkhead vfio ${verb} --force ${device.address}`,
      )
  }

  /** Moves a device to vfio-pci, or leaves it as it was and throws. */
  private take(device: HostDevice, owner: Pick<Former, 'process'> = {}): void {
    const { address } = device
    this.loadDriver()
    // First of all, and with the owner: whenever this program is killed, somebody can give it back.
    this.note(address, { ...this.present(device), ...owner })
    try {
      this.write(address, 'driver_override', DRIVER)
      this.release(address)
      this.probe(address)
      if (this.device(address).driver !== DRIVER) throw new HostError(`${DRIVER} does not take ${address}: see dmesg`)
    } catch (error) {
      this.tryGiveBack(address)
      throw error
    }
  }

  /**
   * What has a device. One that is to be vfio-pci's and is not yet was left so by a run that was killed, which noted what
   * had it; or by the user, whose driver could not have it back while that stays.
   */
  private present({ address, driver, driverOverride }: HostDevice): Former {
    if (driverOverride !== DRIVER) return { driver: driver ?? null, override: driverOverride ?? null }
    const noted = this.former(address) ?? NOBODY
    return { driver: noted.driver ?? driver ?? null, override: noted.override }
  }

  /** The user wants it to stay with vfio-pci, though a run took it that was killed. */
  private keep(address: string): void {
    if (!this.isLeftover(address)) return
    const { driver, override } = this.former(address) ?? NOBODY
    this.note(address, { driver, override })
  }

  private loadDriver(): void {
    if (existsSync(join(this.host.sysfs, 'bus/pci/drivers', DRIVER))) return
    const refusal = this.host.loadModule(DRIVER)
    if (refusal !== undefined)
      throw new HostError(`the module ${DRIVER} cannot be loaded (${refusal}): see bulkhead doctor`)
  }

  /** Back to what had it, as noted; without a note, to whoever takes it. Nothing is left of one that was unplugged. */
  private giveBack(address: string): void {
    if (!existsSync(join(this.host.sysfs, 'bus/pci/devices', address))) {
      this.forget(address)
      return
    }
    const former = this.former(address)
    const device = this.device(address)
    if (isVfioBound(device)) {
      // An empty line ends the override; until the device is released nothing comes of it.
      this.write(address, 'driver_override', former?.override ?? '\n')
      this.release(address)
    } else if (device.driverOverride === DRIVER) {
      this.write(address, 'driver_override', former?.override ?? '\n')
    }
    if (this.device(address).driver === undefined && former?.driver !== null) this.attach(address, former?.driver)
    this.forget(address)
  }

  /** After a failure whose error is the one to be told of. */
  private tryGiveBack(address: string): void {
    try {
      this.giveBack(address)
    } catch {
      // The note stays, so that unbind can try again.
    }
  }

  private attach(address: string, driver: string | undefined): void {
    const bind = join(this.host.sysfs, 'bus/pci/drivers', driver ?? '', 'bind')
    if (driver !== undefined && existsSync(bind)) {
      try {
        this.host.write(bind, address)
        return
      } catch {
        // Somebody else may take it.
      }
    }
    this.probe(address)
    if (driver !== undefined && this.device(address).driver === undefined)
      throw new HostError(`${address} is free, but its driver ${driver} does not take it back: see dmesg`)
  }

  private release(address: string): void {
    const { driver } = this.device(address)
    if (driver !== undefined) this.change(join('bus/pci/drivers', driver, 'unbind'), address, address)
  }

  private probe(address: string): void {
    this.change('bus/pci/drivers_probe', address, address)
  }

  private write(address: string, attribute: string, text: string): void {
    this.change(join('bus/pci/devices', address, attribute), text, address)
  }

  private change(path: string, text: string, address: string): void {
    try {
      this.host.write(join(this.host.sysfs, path), text)
    } catch (cause) {
      throw failure(`the driver of ${address} cannot be changed`, cause)
    }
  }

  /** Whether the device is still with vfio-pci because the run that would have given it back was killed. */
  private isLeftover(address: string): boolean {
    const owner = this.former(address)?.process
    return owner !== undefined && !existsSync(join(this.host.proc, String(owner)))
  }

  private former(address: string): Former | undefined {
    try {
      return JSON.parse(readFileSync(join(this.host.notes, address), 'utf8')) as Former
    } catch {
      return undefined
    }
  }

  private note(address: string, former: Former): void {
    try {
      mkdirSync(this.host.notes, { recursive: true })
      writeFileSync(join(this.host.notes, address), JSON.stringify(former))
    } catch (cause) {
      throw failure(`the driver of ${address} cannot be noted in ${this.host.notes}`, cause)
    }
  }

  private forget(address: string): void {
    rmSync(join(this.host.notes, address), { force: true })
  }
}

/** As the method of that name, on this host. */
export function withBound(address: string): Disposable {
  return new Binding().withBound(address)
}

function failure(what: string, cause: unknown): HostError {
  const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
  const advice = process.getuid?.() === 0 ? 'see dmesg' : 'do it as root'
  return new HostError(`${what} (${code}): ${advice}`, { cause })
}

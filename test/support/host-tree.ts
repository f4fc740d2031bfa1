/**
 * A host's sysfs and proc as a temporary tree of real files, and the part of the kernel that moves PCI devices between
 * drivers when files of it are written (drivers/pci/pci-driver.c, drivers/base/bus.c).
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { BindingHost } from '../../src/vfio/binding.ts'

export interface TreeDevice {
  readonly vendor?: string
  readonly device?: string
  readonly class?: string
  /** The driver that has it, and whose table of devices it is in. */
  readonly driver?: string
  readonly group?: number
  readonly override?: string
}

export class HostTree implements BindingHost, Disposable {
  private readonly top = mkdtempSync(join(tmpdir(), 'bulkhead-host-'))
  readonly sysfs = join(this.top, 'sys')
  readonly proc = join(this.top, 'proc')
  readonly dev = join(this.top, 'dev')
  readonly modules = join(this.top, 'modules')
  readonly notes = join(this.top, 'run/bulkhead/vfio')
  /** By "FOLDER/FILE" or "FOLDER/FILE ADDRESS": the code with which a write to it fails. */
  readonly refusals = new Map<string, string>()
  /** Modules that there are to load. */
  readonly loadable = new Set<string>()
  private readonly natural = new Map<string, string>()

  /** A file anywhere in the tree, with its folders. */
  file(path: string, text: string): void {
    const full = join(this.top, path)
    mkdirSync(dirname(full), { recursive: true })
    writeFileSync(full, text)
  }

  /** A symbolic link to a path of the tree (without a leading slash) or to one that is nowhere. */
  link(path: string, target: string): void {
    const full = join(this.top, path)
    mkdirSync(dirname(full), { recursive: true })
    symlinkSync(target.startsWith('/') ? target : join(this.top, target), full)
  }

  driver(name: string): void {
    this.file(`sys/bus/pci/drivers/${name}/bind`, '')
    this.file(`sys/bus/pci/drivers/${name}/unbind`, '')
  }

  device(address: string, options: TreeDevice = {}): void {
    const { vendor = '0x1234', device = '0x11e8', driver, group, override = '(null)' } = options
    const folder = `sys/devices/pci0000:00/${address}`
    this.file(`${folder}/vendor`, `${vendor}\n`)
    this.file(`${folder}/device`, `${device}\n`)
    this.file(`${folder}/class`, `${options.class ?? '0x00ff00'}\n`)
    this.file(`${folder}/driver_override`, `${override}\n`)
    this.file('sys/bus/pci/drivers_probe', '')
    this.link(`sys/bus/pci/devices/${address}`, folder)
    if (group !== undefined) {
      this.link(`${folder}/iommu_group`, `sys/kernel/iommu_groups/${group}`)
      this.link(`sys/kernel/iommu_groups/${group}/devices/${address}`, folder)
    }
    if (driver === undefined) return
    this.driver(driver)
    this.natural.set(address, driver)
    this.link(`${folder}/driver`, `sys/bus/pci/drivers/${driver}`)
  }

  /** Who has the device. */
  driverOf(address: string): string | undefined {
    const link = join(this.folderOf(address), 'driver')
    return existsSync(link) ? basename(readlinkSync(link)) : undefined
  }

  overrideOf(address: string): string {
    return readFileSync(join(this.folderOf(address), 'driver_override'), 'utf8').trim()
  }

  write(path: string, text: string): void {
    const [folder, name] = [basename(dirname(path)), basename(path)]
    const code = this.refusals.get(`${folder}/${name}`) ?? this.refusals.get(`${folder}/${name} ${text}`)
    if (code !== undefined) throw Object.assign(new Error(code), { code })
    if (name === 'driver_override') writeFileSync(path, text.trim() === '' ? '(null)\n' : text)
    else if (name === 'drivers_probe') this.probe(text)
    else if (name === 'unbind') this.release(text, folder)
    else if (name === 'bind') this.bind(text, folder)
    else throw new Error(`nobody reads ${path}`)
  }

  loadModule(name: string): string | undefined {
    if (!this.loadable.has(name)) return `Module ${name} not found`
    this.driver(name)
    return undefined
  }

  [Symbol.dispose](): void {
    rmSync(this.top, { recursive: true })
  }

  private folderOf(address: string): string {
    return join(this.sysfs, 'devices/pci0000:00', address)
  }

  private takerOf(address: string): string | undefined {
    const override = this.overrideOf(address)
    return override === '(null)' ? this.natural.get(address) : override
  }

  private probe(address: string): void {
    const taker = this.takerOf(address)
    if (this.driverOf(address) === undefined && taker !== undefined) this.attach(address, taker)
  }

  private bind(address: string, driver: string): void {
    if (this.driverOf(address) !== undefined || this.takerOf(address) !== driver)
      throw Object.assign(new Error('ENODEV'), { code: 'ENODEV' })
    this.attach(address, driver)
  }

  private attach(address: string, driver: string): void {
    const folder = join(this.sysfs, 'bus/pci/drivers', driver)
    if (existsSync(folder)) symlinkSync(folder, join(this.folderOf(address), 'driver'))
  }

  private release(address: string, driver: string): void {
    if (this.driverOf(address) !== driver) throw Object.assign(new Error('ENODEV'), { code: 'ENODEV' })
    rmSync(join(this.folderOf(address), 'driver'))
  }
}

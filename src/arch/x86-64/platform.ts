/**
 * The PC's fixed devices on their ports, as firmware/dsdt.asl describes them:
 *
 *   0x60 0x64  keyboard controller (reset only)     0x3f8 irq 4   COM1
 *   0x70-0x71  CMOS RTC, irq 8                      0x2f8 irq 3   COM2
 *   0x80       POST code, ignored                   0x3e8 irq 10  COM3
 *   0x92       system control port A (reset)        0x2e8 irq 11  COM4
 *   0xf4       debug exit                           0x505         panic notification
 *   0x600      ACPI PM1 event and control, irq 9
 *
 * The PIT (0x40-0x43, 0x61), the PICs, the IOAPIC and the local APICs are KVM's.
 */
import type { Bus } from '../../bus/bus.ts'
import type { InterruptLine } from '../../bus/interrupt-line.ts'
import type { RegisterMirror } from '../../bus/mirror.ts'
import { AcpiPm } from '../../devices/acpi-pm.ts'
import { DebugExit } from '../../devices/debug-exit.ts'
import { I8042 } from '../../devices/i8042.ts'
import { POST_RANGE, PostPort } from '../../devices/post.ts'
import { Pvpanic } from '../../devices/pvpanic.ts'
import { Rtc } from '../../devices/rtc.ts'
import { Serial } from '../../devices/serial.ts'
import { SystemControl } from '../../devices/system-control.ts'
import type { Timer } from '../../devices/timer.ts'
import { IRQ, PCI_HOLE_END } from './layout.ts'

const COM = [
  { name: 'COM1', port: 0x3f8, irq: IRQ.com1 },
  { name: 'COM2', port: 0x2f8, irq: IRQ.com2 },
  { name: 'COM3', port: 0x3e8, irq: IRQ.com3 },
  { name: 'COM4', port: 0x2e8, irq: IRQ.com4 },
] as const

const I8042_DATA_PORT = 0x60
const I8042_COMMAND_PORT = 0x64
const RTC_PORT = 0x70
const POST_PORT = 0x80
const SYSTEM_CONTROL_PORT = 0x92
const DEBUG_EXIT_PORT = 0xf4
const PVPANIC_PORT = 0x505
const ACPI_PM_PORT = 0x600

/** What the device thread gives the platform. */
export interface PlatformHost {
  readonly ports: Bus
  readonly line: (irq: number) => InterruptLine
  readonly mirror: (port: number) => RegisterMirror
  readonly timer: () => Timer
  /** Per serial port. */
  readonly consoles: readonly {
    readonly sink: (byte: number) => boolean
    readonly onRoom: () => void
    readonly flowControl: boolean
  }[]
  readonly ram: readonly { readonly start: number; readonly size: number }[]
  readonly onPowerOff: () => void
  readonly onReset: () => void
  readonly onPanic: () => void
  readonly onDebugExit: (status: number) => void
  readonly debug: (message: string) => void
}

/** What the device thread may do with the platform. */
export interface Platform {
  readonly serial: readonly Serial[]
  pressPowerButton(): void
}

/** Builds the devices and puts them on the bus. */
export function createPlatform(host: PlatformHost): Platform {
  const { ports } = host
  const serial = COM.map(({ name, port, irq }, index) => {
    const console = host.consoles[index]
    const device = new Serial({
      interrupt: host.line(irq),
      sink: console?.sink ?? (() => true),
      onRoom: () => console?.onRoom(),
      autoFlow: console?.flowControl ?? false,
      mirror: host.mirror(port),
    })
    ports.add({ name, start: port, size: Serial.SIZE, posted: Serial.POSTED }, device)
    return device
  })
  const i8042 = new I8042({
    keyboardInterrupt: host.line(IRQ.keyboard),
    auxInterrupt: host.line(IRQ.aux),
    onReset: host.onReset,
    mirror: host.mirror(I8042_COMMAND_PORT),
    debug: host.debug,
  })
  ports.add({ name: 'i8042 data', start: I8042_DATA_PORT, size: 1 }, i8042.data)
  ports.add({ name: 'i8042 command', start: I8042_COMMAND_PORT, size: 1 }, i8042.command)
  const low = host.ram.filter(range => range.start < PCI_HOLE_END).reduce((sum, range) => sum + range.size, 0)
  const high = host.ram.filter(range => range.start >= PCI_HOLE_END).reduce((sum, range) => sum + range.size, 0)
  const rtc = new Rtc({
    interrupt: host.line(IRQ.rtc),
    now: Date.now,
    timer: host.timer(),
    memory: { below4GiB: low, above4GiB: high },
  })
  ports.add({ name: 'RTC', start: RTC_PORT, size: Rtc.SIZE, posted: [0] }, rtc)
  ports.add({ ...POST_RANGE, start: POST_PORT }, new PostPort())
  const systemControl = new SystemControl(host.onReset)
  ports.add({ name: 'system control', start: SYSTEM_CONTROL_PORT, size: SystemControl.SIZE }, systemControl)
  ports.add({ name: 'debug exit', start: DEBUG_EXIT_PORT, size: DebugExit.SIZE }, new DebugExit(host.onDebugExit))
  ports.add({ name: 'pvpanic', start: PVPANIC_PORT, size: Pvpanic.SIZE }, new Pvpanic(host.onPanic))
  const pm = new AcpiPm({ interrupt: host.line(IRQ.sci), onPowerOff: host.onPowerOff })
  ports.add({ name: 'ACPI PM1', start: ACPI_PM_PORT, size: AcpiPm.SIZE }, pm)
  return { serial, pressPowerButton: () => pm.pressPowerButton() }
}

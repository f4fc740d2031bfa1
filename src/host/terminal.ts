/** Settings of a terminal, struct termios of glibc. */
import { CBuffer } from './c-buffer.ts'
import { check, libc } from './libc.ts'

/** struct termios: four words of flags, then line discipline, characters and speeds; 60 bytes on x86-64 and arm64. */
const TERMIOS_SIZE = 60
const OFLAG = 4
const OPOST = 0x01
const TCSANOW = 0

/** All settings of the terminal `fd`, to be given back later. */
export function terminalSettings(fd: number): CBuffer {
  const settings = new CBuffer(TERMIOS_SIZE)
  check('tcgetattr', libc.tcgetattr(fd, settings.pointer))
  return settings
}

/** Gives the terminal settings that `terminalSettings` took. */
export function setTerminalSettings(fd: number, settings: CBuffer): void {
  check('tcsetattr', libc.tcsetattr(fd, TCSANOW, settings.pointer))
}

/** Ends the processing of output: a line feed moves the cursor down and nothing else. */
export function passOutputThrough(fd: number): void {
  const settings = terminalSettings(fd)
  settings.view.setUint32(OFLAG, settings.view.getUint32(OFLAG, true) & ~OPOST, true)
  setTerminalSettings(fd, settings)
}

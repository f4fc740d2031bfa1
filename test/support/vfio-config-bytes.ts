/**
 * Configuration spaces of QEMU's edu, nvme and e1000e on a root bus, as Linux's sysfs shows them: rows that are not all
 * zeros, by offset.
 */

/** A space of `size` bytes from its rows. */
function space(size: number, rows: Readonly<Record<number, string>>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(size))
  for (const [at, row] of Object.entries(rows)) bytes.set(Uint8Array.fromHex(row.replaceAll(' ', '')), Number(at))
  return bytes
}

/** Conventional: a BAR of 1 MiB, INTA, MSI with one 64-bit message. */
export const EDU_CONFIG = space(256, {
  0: '34 12 e8 11 03 01 10 00 10 00 ff 00 00 00 00 00',
  16: '00 00 a0 fe 00 00 00 00 00 00 00 00 00 00 00 00',
  32: '00 00 00 00 00 00 00 00 00 00 00 00 f4 1a 00 11',
  48: '00 00 00 00 40 00 00 00 00 00 00 00 0a 01 00 00',
  64: '05 00 80 00 00 00 00 00 00 00 00 00 00 00 00 00',
})

/** A 64-bit BAR of 16 KiB with a table of 65 MSI-X entries at 0x2000 and pending bits at 0x3000. */
export const NVME_CONFIG = space(4096, {
  0: '36 1b 10 00 07 05 10 00 02 02 08 01 00 00 00 00',
  16: '04 00 b4 fe 00 00 00 00 00 00 00 00 00 00 00 00',
  32: '00 00 00 00 00 00 00 00 00 00 00 00 f4 1a 00 11',
  48: '00 00 00 00 40 00 00 00 00 00 00 00 0a 01 00 00',
  64: '11 80 40 80 00 20 00 00 00 30 00 00 00 00 00 00',
  96: '01 00 03 00 08 00 00 00 00 00 00 00 00 00 00 00',
  128: '10 60 92 00 00 80 00 10 00 00 00 00 11 04 00 00',
  144: '00 00 11 00 00 00 00 00 00 00 00 00 00 00 00 00',
  160: '00 00 00 00 00 00 30 00 00 00 00 00 00 00 00 00',
})

/** Memory BARs 0, 1 and 3 (MSI-X with 5 vectors), I/O BAR 2, a ROM, AER and a serial number. */
export const E1000E_CONFIG = space(4096, {
  0: '86 80 d3 10 03 01 10 00 00 00 00 02 00 00 00 00',
  16: '00 00 b0 fe 00 00 b2 fe 21 c5 00 00 00 40 b4 fe',
  32: '00 00 00 00 00 00 00 00 00 00 00 00 86 80 00 00',
  48: '00 00 00 00 c8 00 00 00 00 00 00 00 0b 01 00 00',
  160: '11 00 04 00 03 00 00 00 03 20 00 00 00 00 00 00',
  192: '00 00 00 00 00 00 00 00 01 d0 22 00 00 00 00 00',
  208: '05 e0 80 00 00 00 00 00 00 00 00 00 00 00 00 00',
  224: '10 a0 91 00 00 80 00 10 00 00 00 00 11 04 00 00',
  240: '00 00 11 00 00 00 00 00 00 00 00 00 00 00 00 00',
  256: '01 00 02 14 00 00 00 00 00 00 00 00 30 20 46 00',
  272: '00 00 00 00 00 e0 00 00 a0 00 00 00 00 00 00 00',
  320: '03 00 01 00 57 34 12 ff ff 00 54 52 00 00 00 00',
})

/** Builds the smallest ELF object that has a .modinfo section. */

/** A module image with the given `key=value` strings. */
export function moduleImage(info: readonly string[]): Uint8Array {
  const names = '\0.modinfo\0.shstrtab\0'
  const modinfo = info.map(line => `${line}\0`).join('')
  const namesAt = 64
  const modinfoAt = namesAt + names.length
  const tableAt = modinfoAt + modinfo.length
  const image = new Uint8Array(tableAt + 3 * 64)
  const view = new DataView(image.buffer)
  view.setUint32(0, 0x7f454c46)
  view.setUint16(4, 0x0201)
  view.setUint32(0x28, tableAt, true)
  view.setUint16(0x3a, 64, true)
  view.setUint16(0x3c, 3, true)
  view.setUint16(0x3e, 2, true)
  image.set(new TextEncoder().encode(names + modinfo), namesAt)
  section(view, tableAt + 64, names.indexOf('.modinfo'), modinfoAt, modinfo.length)
  section(view, tableAt + 128, names.indexOf('.shstrtab'), namesAt, names.length)
  return image
}

function section(view: DataView, at: number, name: number, offset: number, size: number): void {
  view.setUint32(at, name, true)
  view.setUint32(at + 0x18, offset, true)
  view.setUint32(at + 0x20, size, true)
}

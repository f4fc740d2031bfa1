/** The part of the untyped package `elfy` that bulkhead calls. It is CommonJS, hence `export =`. */
declare module 'elfy' {
  namespace elfy {
    interface Header {
      readonly class: '32' | '64'
      readonly endian: 'lsb' | 'msb'
      readonly type: string | undefined
      readonly machine: string | undefined
      readonly entry: number
      readonly phoff: number
      readonly phentsize: number
      readonly phnum: number
    }

    interface Program {
      readonly type: string | undefined
      readonly offset: number
      readonly vaddr: number
      readonly paddr: number
      readonly filesz: number
      readonly memsz: number
      readonly align: number
    }

    class Parser {
      /** Also sets the byte order and word size that `parsePrograms` reads with. */
      parseHeader(file: Buffer): Header
      parsePrograms(file: Buffer, header: Header): Program[]
    }
  }

  export = elfy
}

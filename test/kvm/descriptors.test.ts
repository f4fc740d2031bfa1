import { readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { missingKvm } from '../support/kvm-host.ts'
import { Assembler } from '../support/micro-guest.ts'
import { runMicro } from '../support/micro-machine.ts'
import { describeUnless } from '../support/skip.ts'

const descriptors = () => readdirSync('/proc/self/fd').length

describeUnless(missingKvm(), 'a machine that has ended', () => {
  it.each([{ rootPorts: false }, { rootPorts: true }])(
    'keeps no descriptor of its devices ($rootPorts)',
    async options => {
      const run = () =>
        runMicro(new Assembler().exit(0), { ...options, devices: [{ kind: 'rng' }, { kind: 'balloon' }] })
      // The first one may start what the process keeps.
      await run()
      const before = descriptors()
      await run()
      expect(descriptors()).toBe(before)
    },
  )
})

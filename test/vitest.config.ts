import { defineConfig } from 'vitest/config'

/** Three projects: unit (no KVM, no downloads), kvm (micro-guests on /dev/kvm), guest (Linux boots, minutes). */
export default defineConfig({
  root: new URL('.', import.meta.url).pathname,
  test: {
    pool: 'forks',
    projects: [
      { extends: true, test: { name: 'unit', include: ['unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        extends: true,
        test: { name: 'kvm', include: ['kvm/**/*.test.ts'], testTimeout: 60_000, fileParallelism: false },
      },
      {
        extends: true,
        test: { name: 'guest', include: ['guest/**/*.test.ts'], testTimeout: 900_000, fileParallelism: false },
      },
    ],
  },
})

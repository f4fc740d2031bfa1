/*
 * Guest-physical memory, identity-mapped and open to CPL 3. The guest needs 128 MiB.
 *
 *   0010_0000  image, page tables, stacks (guest.ld)
 *   0080_0000  rings: one RING_BYTES area per queue
 *   0100_0000  samples of one test
 *   0200_0000  data buffers, up to the end of memory
 *   c000_0000  PCI memory hole and local APIC; BARs above 4 GiB are mapped when they are found
 */
#ifndef MEMORY_H
#define MEMORY_H

#define RINGS_START 0x800000ul
#define RING_BYTES 0x80000ul
#define MAX_QUEUES 16
#define SAMPLES_START 0x1000000ul
#define MAX_SAMPLES (0x1000000ul / sizeof(uint64_t))
#define DATA_START 0x2000000ul
#define DATA_END 0x8000000ul
#define LAPIC_START 0xfee00000ul

/* I/O virtual addresses that tests map, above everything that an identity mapping has. */
#define IOVA_START 0x100000000ul
#define IOVA_END 0xfffffffffful

#endif

/*
 * DSDT of the x86-64 machine: PCI, and the devices at fixed ports, which nothing else would announce.
 * Compile to dsdt.aml with: iasl -p dsdt dsdt.asl
 *
 * There is no keyboard controller (PNP0303) here: only its reset pulse on port 0x64 exists, and a driver that
 * found it described would wait half a second for answers.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "BLKHD ", "BULKHEAD", 0x00000001)
{
    Scope (\_SB)
    {
        // PCI Express root, segment 0. What is consumed here is exactly src/arch/x86-64/layout.ts.
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0000, 0x0CF7, 0x0000, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0x0000, 0x0D00, 0xFFFF, 0x0000, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0x00000000, 0xC0000000, 0xDFFFFFFF, 0x00000000, 0x20000000)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0x0000000000000000, 0x0000004000000000, 0x0000007FFFFFFFFF, 0x0000000000000000,
                    0x0000004000000000)
            })

            // Grants native hot-plug, PME and the PCI Express capability; AER and SHPC hot-plug there is not.
            Method (_OSC, 4, NotSerialized)
            {
                CreateDWordField (Arg3, 0, CDW1)
                If ((Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766")))
                {
                    CreateDWordField (Arg3, 8, CDW3)
                    Local0 = (CDW3 & 0x15)
                    If ((Arg1 != One))
                    {
                        CDW1 |= 0x08
                    }

                    If ((CDW3 != Local0))
                    {
                        CDW1 |= 0x10
                    }

                    CDW3 = Local0
                }
                Else
                {
                    CDW1 |= 0x04
                }

                Return (Arg3)
            }

            // INTA to INTD of device n come out at interrupts 16 to 19, turned by n. A guest takes them for active
            // low; KVM's I/O APIC knows no polarity.
            Name (_PRT, Package (128)
            {
                Package (4) { 0x0000FFFF, 0, 0, 16 }, Package (4) { 0x0000FFFF, 1, 0, 17 },
                Package (4) { 0x0000FFFF, 2, 0, 18 }, Package (4) { 0x0000FFFF, 3, 0, 19 },
                Package (4) { 0x0001FFFF, 0, 0, 17 }, Package (4) { 0x0001FFFF, 1, 0, 18 },
                Package (4) { 0x0001FFFF, 2, 0, 19 }, Package (4) { 0x0001FFFF, 3, 0, 16 },
                Package (4) { 0x0002FFFF, 0, 0, 18 }, Package (4) { 0x0002FFFF, 1, 0, 19 },
                Package (4) { 0x0002FFFF, 2, 0, 16 }, Package (4) { 0x0002FFFF, 3, 0, 17 },
                Package (4) { 0x0003FFFF, 0, 0, 19 }, Package (4) { 0x0003FFFF, 1, 0, 16 },
                Package (4) { 0x0003FFFF, 2, 0, 17 }, Package (4) { 0x0003FFFF, 3, 0, 18 },
                Package (4) { 0x0004FFFF, 0, 0, 16 }, Package (4) { 0x0004FFFF, 1, 0, 17 },
                Package (4) { 0x0004FFFF, 2, 0, 18 }, Package (4) { 0x0004FFFF, 3, 0, 19 },
                Package (4) { 0x0005FFFF, 0, 0, 17 }, Package (4) { 0x0005FFFF, 1, 0, 18 },
                Package (4) { 0x0005FFFF, 2, 0, 19 }, Package (4) { 0x0005FFFF, 3, 0, 16 },
                Package (4) { 0x0006FFFF, 0, 0, 18 }, Package (4) { 0x0006FFFF, 1, 0, 19 },
                Package (4) { 0x0006FFFF, 2, 0, 16 }, Package (4) { 0x0006FFFF, 3, 0, 17 },
                Package (4) { 0x0007FFFF, 0, 0, 19 }, Package (4) { 0x0007FFFF, 1, 0, 16 },
                Package (4) { 0x0007FFFF, 2, 0, 17 }, Package (4) { 0x0007FFFF, 3, 0, 18 },
                Package (4) { 0x0008FFFF, 0, 0, 16 }, Package (4) { 0x0008FFFF, 1, 0, 17 },
                Package (4) { 0x0008FFFF, 2, 0, 18 }, Package (4) { 0x0008FFFF, 3, 0, 19 },
                Package (4) { 0x0009FFFF, 0, 0, 17 }, Package (4) { 0x0009FFFF, 1, 0, 18 },
                Package (4) { 0x0009FFFF, 2, 0, 19 }, Package (4) { 0x0009FFFF, 3, 0, 16 },
                Package (4) { 0x000AFFFF, 0, 0, 18 }, Package (4) { 0x000AFFFF, 1, 0, 19 },
                Package (4) { 0x000AFFFF, 2, 0, 16 }, Package (4) { 0x000AFFFF, 3, 0, 17 },
                Package (4) { 0x000BFFFF, 0, 0, 19 }, Package (4) { 0x000BFFFF, 1, 0, 16 },
                Package (4) { 0x000BFFFF, 2, 0, 17 }, Package (4) { 0x000BFFFF, 3, 0, 18 },
                Package (4) { 0x000CFFFF, 0, 0, 16 }, Package (4) { 0x000CFFFF, 1, 0, 17 },
                Package (4) { 0x000CFFFF, 2, 0, 18 }, Package (4) { 0x000CFFFF, 3, 0, 19 },
                Package (4) { 0x000DFFFF, 0, 0, 17 }, Package (4) { 0x000DFFFF, 1, 0, 18 },
                Package (4) { 0x000DFFFF, 2, 0, 19 }, Package (4) { 0x000DFFFF, 3, 0, 16 },
                Package (4) { 0x000EFFFF, 0, 0, 18 }, Package (4) { 0x000EFFFF, 1, 0, 19 },
                Package (4) { 0x000EFFFF, 2, 0, 16 }, Package (4) { 0x000EFFFF, 3, 0, 17 },
                Package (4) { 0x000FFFFF, 0, 0, 19 }, Package (4) { 0x000FFFFF, 1, 0, 16 },
                Package (4) { 0x000FFFFF, 2, 0, 17 }, Package (4) { 0x000FFFFF, 3, 0, 18 },
                Package (4) { 0x0010FFFF, 0, 0, 16 }, Package (4) { 0x0010FFFF, 1, 0, 17 },
                Package (4) { 0x0010FFFF, 2, 0, 18 }, Package (4) { 0x0010FFFF, 3, 0, 19 },
                Package (4) { 0x0011FFFF, 0, 0, 17 }, Package (4) { 0x0011FFFF, 1, 0, 18 },
                Package (4) { 0x0011FFFF, 2, 0, 19 }, Package (4) { 0x0011FFFF, 3, 0, 16 },
                Package (4) { 0x0012FFFF, 0, 0, 18 }, Package (4) { 0x0012FFFF, 1, 0, 19 },
                Package (4) { 0x0012FFFF, 2, 0, 16 }, Package (4) { 0x0012FFFF, 3, 0, 17 },
                Package (4) { 0x0013FFFF, 0, 0, 19 }, Package (4) { 0x0013FFFF, 1, 0, 16 },
                Package (4) { 0x0013FFFF, 2, 0, 17 }, Package (4) { 0x0013FFFF, 3, 0, 18 },
                Package (4) { 0x0014FFFF, 0, 0, 16 }, Package (4) { 0x0014FFFF, 1, 0, 17 },
                Package (4) { 0x0014FFFF, 2, 0, 18 }, Package (4) { 0x0014FFFF, 3, 0, 19 },
                Package (4) { 0x0015FFFF, 0, 0, 17 }, Package (4) { 0x0015FFFF, 1, 0, 18 },
                Package (4) { 0x0015FFFF, 2, 0, 19 }, Package (4) { 0x0015FFFF, 3, 0, 16 },
                Package (4) { 0x0016FFFF, 0, 0, 18 }, Package (4) { 0x0016FFFF, 1, 0, 19 },
                Package (4) { 0x0016FFFF, 2, 0, 16 }, Package (4) { 0x0016FFFF, 3, 0, 17 },
                Package (4) { 0x0017FFFF, 0, 0, 19 }, Package (4) { 0x0017FFFF, 1, 0, 16 },
                Package (4) { 0x0017FFFF, 2, 0, 17 }, Package (4) { 0x0017FFFF, 3, 0, 18 },
                Package (4) { 0x0018FFFF, 0, 0, 16 }, Package (4) { 0x0018FFFF, 1, 0, 17 },
                Package (4) { 0x0018FFFF, 2, 0, 18 }, Package (4) { 0x0018FFFF, 3, 0, 19 },
                Package (4) { 0x0019FFFF, 0, 0, 17 }, Package (4) { 0x0019FFFF, 1, 0, 18 },
                Package (4) { 0x0019FFFF, 2, 0, 19 }, Package (4) { 0x0019FFFF, 3, 0, 16 },
                Package (4) { 0x001AFFFF, 0, 0, 18 }, Package (4) { 0x001AFFFF, 1, 0, 19 },
                Package (4) { 0x001AFFFF, 2, 0, 16 }, Package (4) { 0x001AFFFF, 3, 0, 17 },
                Package (4) { 0x001BFFFF, 0, 0, 19 }, Package (4) { 0x001BFFFF, 1, 0, 16 },
                Package (4) { 0x001BFFFF, 2, 0, 17 }, Package (4) { 0x001BFFFF, 3, 0, 18 },
                Package (4) { 0x001CFFFF, 0, 0, 16 }, Package (4) { 0x001CFFFF, 1, 0, 17 },
                Package (4) { 0x001CFFFF, 2, 0, 18 }, Package (4) { 0x001CFFFF, 3, 0, 19 },
                Package (4) { 0x001DFFFF, 0, 0, 17 }, Package (4) { 0x001DFFFF, 1, 0, 18 },
                Package (4) { 0x001DFFFF, 2, 0, 19 }, Package (4) { 0x001DFFFF, 3, 0, 16 },
                Package (4) { 0x001EFFFF, 0, 0, 18 }, Package (4) { 0x001EFFFF, 1, 0, 19 },
                Package (4) { 0x001EFFFF, 2, 0, 16 }, Package (4) { 0x001EFFFF, 3, 0, 17 },
                Package (4) { 0x001FFFFF, 0, 0, 19 }, Package (4) { 0x001FFFFF, 1, 0, 16 },
                Package (4) { 0x001FFFFF, 2, 0, 17 }, Package (4) { 0x001FFFFF, 3, 0, 18 }
            })
        }

        // PCI configuration space, which Linux uses only where it is reserved.
        Device (ECAM)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x10000000)
            })
        }

        // Serial ports. The third and fourth have lines of their own, so no edge-triggered line is shared.
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                IRQ (Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x08)
                IRQ (Edge, ActiveHigh, Exclusive) { 3 }
            })
        }

        Device (COM3)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 3)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03E8, 0x03E8, 0x01, 0x08)
                IRQ (Edge, ActiveHigh, Exclusive) { 10 }
            })
        }

        Device (COM4)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 4)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02E8, 0x02E8, 0x01, 0x08)
                IRQ (Edge, ActiveHigh, Exclusive) { 11 }
            })
        }

        // CMOS clock
        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQ (Edge, ActiveHigh, Exclusive) { 8 }
            })
        }

        // A write to this port tells the host that the guest has crashed (Linux: pvpanic-mmio).
        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0505, 0x0505, 0x01, 0x01)
            })
        }
    }

    // Power off: SLP_TYP 5 in PM1a_CNT.
    Name (\_S5, Package (4) { 5, 0, 0, 0 })
}

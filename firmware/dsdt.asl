/*
 * DSDT of the x86-64 machine: the devices at fixed ports, which nothing else would announce.
 * Compile to dsdt.aml with: iasl -p dsdt dsdt.asl
 *
 * There is no keyboard controller (PNP0303) here: only its reset pulse on port 0x64 exists, and a driver that
 * found it described would wait half a second for answers.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "BLKHD ", "BULKHEAD", 0x00000001)
{
    Scope (\_SB)
    {
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

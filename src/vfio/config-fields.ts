/**
 * Which capabilities of a device a guest gets. What is passed through goes to VFIO, which lets a guest write only what is
 * harmless to the host. What is not in these tables is hidden: nobody has looked at what it can do.
 */
import {
  PCI_CAP_ID_AF,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_PCIX,
  PCI_CAP_ID_PM,
  PCI_CAP_ID_SATA,
  PCI_CAP_ID_SSVID,
  PCI_CAP_ID_VNDR,
  PCI_CAP_ID_VPD,
  PCI_EXT_CAP_ID_ACS,
  PCI_EXT_CAP_ID_ARI,
  PCI_EXT_CAP_ID_ATS,
  PCI_EXT_CAP_ID_DPA,
  PCI_EXT_CAP_ID_DPC,
  PCI_EXT_CAP_ID_DSN,
  PCI_EXT_CAP_ID_DVSEC,
  PCI_EXT_CAP_ID_ERR,
  PCI_EXT_CAP_ID_L1SS,
  PCI_EXT_CAP_ID_LTR,
  PCI_EXT_CAP_ID_MCAST,
  PCI_EXT_CAP_ID_MFVC,
  PCI_EXT_CAP_ID_PASID,
  PCI_EXT_CAP_ID_PRI,
  PCI_EXT_CAP_ID_PTM,
  PCI_EXT_CAP_ID_PWR,
  PCI_EXT_CAP_ID_REBAR,
  PCI_EXT_CAP_ID_SRIOV,
  PCI_EXT_CAP_ID_TPH,
  PCI_EXT_CAP_ID_VC,
  PCI_EXT_CAP_ID_VC9,
  PCI_EXT_CAP_ID_VF_REBAR,
  PCI_EXT_CAP_ID_VNDR,
} from '../pci/registers.ts'

/** Capabilities that a guest sees, with what is done for them. */
export type Treatment = 'pass' | 'msi' | 'msix' | 'express' | 'power' | 'advanced-features'

/** See above; the rest of the conventional ones belong to bridges, hot plug, AGP and CompactPCI. */
export const CAPABILITIES: ReadonlyMap<number, Treatment> = new Map([
  [PCI_CAP_ID_PM, 'power'],
  [PCI_CAP_ID_VPD, 'pass'],
  [PCI_CAP_ID_MSI, 'msi'],
  [PCI_CAP_ID_PCIX, 'pass'],
  [PCI_CAP_ID_VNDR, 'pass'],
  [PCI_CAP_ID_SSVID, 'pass'],
  [PCI_CAP_ID_EXP, 'express'],
  [PCI_CAP_ID_MSIX, 'msix'],
  [PCI_CAP_ID_SATA, 'pass'],
  [PCI_CAP_ID_AF, 'advanced-features'],
])

/** Bytes that a capability has at least, where some of them are looked at. One that has no room for them is hidden. */
export const LEAST_ROOM: ReadonlyMap<number, number> = new Map([
  [PCI_CAP_ID_PM, 8],
  [PCI_CAP_ID_MSI, 10],
  [PCI_CAP_ID_EXP, 12],
  [PCI_CAP_ID_MSIX, 12],
  [PCI_CAP_ID_AF, 6],
])

/** Extended capabilities that are passed through. */
export const EXTENDED_CAPABILITIES: ReadonlySet<number> = new Set([
  PCI_EXT_CAP_ID_ERR,
  PCI_EXT_CAP_ID_DSN,
  PCI_EXT_CAP_ID_PWR,
  PCI_EXT_CAP_ID_VNDR,
  PCI_EXT_CAP_ID_DVSEC,
])

const ROUTE = 'the host decides where its packets go'
const TRANSLATION = "the guest's IOMMU does not answer translation requests"
const LINK = "it tunes the host's link"
const BARS = 'the size of a BAR is fixed while the device is passed through'
const NUMBERS = "function numbers are those of the guest's bus"
const CHANNELS = "virtual channels belong to the host's fabric"

/** Extended capabilities that are hidden, and why. */
export const HIDDEN_CAPABILITIES: ReadonlyMap<number, readonly [name: string, reason: string]> = new Map([
  [PCI_EXT_CAP_ID_VC, ['VC', CHANNELS]],
  [PCI_EXT_CAP_ID_VC9, ['VC', CHANNELS]],
  [PCI_EXT_CAP_ID_MFVC, ['MFVC', CHANNELS]],
  [PCI_EXT_CAP_ID_ACS, ['ACS', ROUTE]],
  [PCI_EXT_CAP_ID_ARI, ['ARI', NUMBERS]],
  [PCI_EXT_CAP_ID_ATS, ['ATS', TRANSLATION]],
  [PCI_EXT_CAP_ID_PRI, ['PRI', TRANSLATION]],
  [PCI_EXT_CAP_ID_PASID, ['PASID', TRANSLATION]],
  [PCI_EXT_CAP_ID_SRIOV, ['SR-IOV', "virtual functions appear on the host's bus"]],
  [PCI_EXT_CAP_ID_MCAST, ['multicast', ROUTE]],
  [PCI_EXT_CAP_ID_REBAR, ['resizable BAR', BARS]],
  [PCI_EXT_CAP_ID_VF_REBAR, ['VF resizable BAR', BARS]],
  [PCI_EXT_CAP_ID_DPA, ['DPA', "its power budget is the host's"]],
  [PCI_EXT_CAP_ID_TPH, ['TPH', "steering tags are the host's processors"]],
  [PCI_EXT_CAP_ID_LTR, ['LTR', LINK]],
  [PCI_EXT_CAP_ID_L1SS, ['L1 PM substates', LINK]],
  [PCI_EXT_CAP_ID_DPC, ['DPC', LINK]],
  [PCI_EXT_CAP_ID_PTM, ['PTM', "there is no time source above it on the guest's bus"]],
])

/**
 * VFIO's uapi numbers (linux/vfio.h), under their exact names. All its ioctls are plain _IO: what they take says its
 * size itself (`argsz`), so that it may grow. A test compares all of this with the kernel headers.
 */

const VFIO_TYPE = 0x3b
const VFIO_BASE = 100

const io = (number: number) => (VFIO_TYPE << 8) | (VFIO_BASE + number)

/** The only API version there is. */
export const VFIO_API_VERSION = 0

// Extensions (VFIO_CHECK_EXTENSION), and kinds of IOMMU (VFIO_SET_IOMMU).
export const VFIO_TYPE1v2_IOMMU = 3

// Container ioctls.
export const VFIO_GET_API_VERSION = io(0)
export const VFIO_CHECK_EXTENSION = io(1)
export const VFIO_SET_IOMMU = io(2)
export const VFIO_IOMMU_GET_INFO = io(12)
export const VFIO_IOMMU_MAP_DMA = io(13)
export const VFIO_IOMMU_UNMAP_DMA = io(14)

// Group ioctls.
export const VFIO_GROUP_GET_STATUS = io(3)
export const VFIO_GROUP_SET_CONTAINER = io(4)
export const VFIO_GROUP_GET_DEVICE_FD = io(6)

export const VFIO_GROUP_FLAGS_VIABLE = 1
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 2

// Device ioctls; the numbers of the last two are also those of container calls.
export const VFIO_DEVICE_GET_INFO = io(7)
export const VFIO_DEVICE_GET_REGION_INFO = io(8)
export const VFIO_DEVICE_GET_IRQ_INFO = io(9)
export const VFIO_DEVICE_SET_IRQS = io(10)
export const VFIO_DEVICE_RESET = io(11)
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = io(12)
export const VFIO_DEVICE_PCI_HOT_RESET = io(13)

export const VFIO_DEVICE_FLAGS_RESET = 1
export const VFIO_DEVICE_FLAGS_PCI = 2

export const VFIO_REGION_INFO_FLAG_READ = 1
export const VFIO_REGION_INFO_FLAG_WRITE = 2
export const VFIO_REGION_INFO_FLAG_MMAP = 4
export const VFIO_REGION_INFO_FLAG_CAPS = 8

export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3

export const VFIO_PCI_BAR0_REGION_INDEX = 0
export const VFIO_PCI_BAR5_REGION_INDEX = 5
export const VFIO_PCI_ROM_REGION_INDEX = 6
export const VFIO_PCI_CONFIG_REGION_INDEX = 7
export const VFIO_PCI_NUM_REGIONS = 9

export const VFIO_PCI_INTX_IRQ_INDEX = 0
export const VFIO_PCI_MSI_IRQ_INDEX = 1
export const VFIO_PCI_MSIX_IRQ_INDEX = 2
export const VFIO_PCI_ERR_IRQ_INDEX = 3
export const VFIO_PCI_REQ_IRQ_INDEX = 4
export const VFIO_PCI_NUM_IRQS = 5

export const VFIO_IRQ_INFO_EVENTFD = 1
export const VFIO_IRQ_INFO_MASKABLE = 2
export const VFIO_IRQ_INFO_AUTOMASKED = 4
export const VFIO_IRQ_INFO_NORESIZE = 8

export const VFIO_IRQ_SET_DATA_NONE = 1
export const VFIO_IRQ_SET_DATA_BOOL = 2
export const VFIO_IRQ_SET_DATA_EVENTFD = 4
export const VFIO_IRQ_SET_ACTION_MASK = 8
export const VFIO_IRQ_SET_ACTION_UNMASK = 0x10
export const VFIO_IRQ_SET_ACTION_TRIGGER = 0x20

export const VFIO_IOMMU_INFO_PGSIZES = 1
export const VFIO_IOMMU_INFO_CAPS = 2

export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3

export const VFIO_DMA_MAP_FLAG_READ = 1
export const VFIO_DMA_MAP_FLAG_WRITE = 2

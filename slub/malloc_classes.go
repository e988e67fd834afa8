package slub

import (
	"github.com/slubd/slubd/internal/percpu"
)

// classSizes are the sizes of the objects that Malloc returns, in bytes: each word up to 64, then
// seven steps to each power of two, or fewer where a step is a word or two. From 49 bytes up a
// class is at most an eighth larger than the number of bytes in whole words, and no class could be
// omitted; docs/rfcs has what that costs. The kernel has powers of two up to 8192, and 96 and 192
// (kernel: kmalloc_info).
var classSizes = [...]uintptr{
	8, 16, 24, 32, 40, 48, 56, 64,
	80, 96, 112, 128,
	144, 160, 176, 192, 224, 256,
	288, 320, 352, 384, 432, 480, 512,
	576, 640, 704, 768, 864, 960, 1024,
	1152, 1280, 1408, 1536, 1728, 1920, 2048,
	2304, 2560, 2816, 3072, 3456, 3840, 4096,
	4608, 5120, 5632, 6144, 6912, 7680, 8192,
	9216, 10240, 11264, 12288, 13824, 15360, 16384,
	18432, 20480, 22528, 24576, 27648, 30720, 32768,
}

// Classes returns the sizes, in bytes, that Malloc rounds up to, in ascending order. What is larger
// than the last gets pages. Any goroutine. (Kernel: kmalloc_size_roundup, for a single size.)
func Classes() []int {
	sizes := make([]int, 0, numClasses+len(pageClassSizes))
	for _, size := range classSizes {
		sizes = append(sizes, int(size))
	}
	for _, size := range pageClassSizes {
		sizes = append(sizes, int(size))
	}
	return sizes
}

const (
	numClasses = len(classSizes)
	maxClass   = 32768 // bytes; larger ones are page classes

	// All classes up to maxFine are multiples of fineStep, all above it of coarseStep.
	fineStep, coarseStep, maxFine = percpu.FineStep, percpu.CoarseStep, percpu.MaxFine
)

// The tables give the class of a size, which is their index in steps (kernel:
// kmalloc_size_index).
var (
	fineClasses   = classTable(fineStep, maxFine)
	coarseClasses = classTable(coarseStep, maxClass)
)

func classTable(step, most uintptr) []uint8 {
	table := make([]uint8, most/step+1)
	class := uint8(0)
	for i := range table {
		for uintptr(i)*step > classSizes[class] {
			class++
		}
		table[i] = class
	}
	return table
}

// classOf returns the smallest class of at least n bytes. Precondition: 1 <= n <= maxClass.
func classOf(n uint) uint {
	if n <= maxFine {
		return uint(fineClasses[(n+fineStep-1)/fineStep])
	}
	return uint(coarseClasses[(n+coarseStep-1)/coarseStep])
}

// rooms are the sizes of the classes in bytes, as percpu.SliceBySize finds them: by n-1 in fine
// steps, and behind those in coarse steps.
var rooms = func() (rooms [maxFine/fineStep + maxClass/coarseStep]uint16) {
	for i, class := range fineClasses[1:] { // fineClasses[0] is for no bytes
		rooms[i] = uint16(classSizes[class])
	}
	for i, class := range coarseClasses[1:] {
		rooms[maxFine/fineStep+i] = uint16(classSizes[class])
	}
	return rooms
}()

// classCapacity returns the capacity of the sheaves of a class: factor times 32 KiB of objects,
// up to maxClassCapacity objects. A cache raises it to the kernel's. Programs that call Malloc
// have larger bursts than one kind of object has.
func classCapacity(size uintptr, factor float64) int {
	return min(maxClassCapacity, max(1, int(sheafBytes*factor)/int(size)))
}

const (
	sheafBytes       = 32 << 10
	maxClassCapacity = 240
)

// classAlign returns the alignment that Malloc promises: the largest power of two that divides
// the size of the class, up to a page (kernel: the alignment guarantee of kmalloc).
func classAlign(size uintptr) uintptr { return min(size&-size, 4096) }

// classSlabs returns the limits for the slabs of a class. At most a sixteenth of a slab is left
// over behind its last object; a few classes need larger slabs for that than others of about their
// size, up to 256 KiB. Above 4 KiB few slabs that are empty are kept.
func classSlabs(size uintptr) (s SlabLimits, minPartial int) {
	switch {
	case size <= 4096:
		return SlabLimits{}, 0
	case size <= 8192:
		return SlabLimits{MaxOrder: 5}, 2
	}
	return SlabLimits{MinOrder: 5, MaxOrder: 6, MinObjects: 1}, 2
}

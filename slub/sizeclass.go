package slub

import (
	"github.com/slubd/slubd/internal/percpu"
)

// classSizes are the sizes of objects that Malloc hands out, in bytes. Up to 256 they are
// the kernel's, with 96 and 192, where most requests lie (kmalloc_info, in order of size
// here). Above it has powers of two only, which waste a third of what mixed sizes ask
// for and put the beginnings of all objects into few sets of the processor's caches; here
// there are up to three more to each. Left out is what would fit a slab hardly more often than the
// next. The kernel's end at 8192.
var classSizes = [...]uintptr{
	8, 16, 32, 64, 96, 128, 192, 256,
	320, 384, 448, 512, 640, 768, 896, 1024,
	1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096,
	5120, 6144, 7168, 8192, 10240, 12288, 14336, 16384,
	20480, 24576, 32768,
}

const (
	numClasses = len(classSizes)
	maxClass   = 32768 // bytes; what is larger gets pages

	// All classes up to maxFine are multiples of fineStep, those above of coarseStep.
	fineStep, coarseStep, maxFine = percpu.FineStep, percpu.CoarseStep, percpu.MaxFine
)

// The tables lead from a size, in steps, to its class (kernel: kmalloc_size_index).
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

// classOf returns the smallest class of at least n bytes, 1 to maxClass.
func classOf(n uint) uint {
	if n <= maxFine {
		return uint(fineClasses[(n+fineStep-1)/fineStep])
	}
	return uint(coarseClasses[(n+coarseStep-1)/coarseStep])
}

// classCapacity is the capacity of a class's sheaves, which the cache raises to the
// kernel's: growth times 32 KiB, up to maxClassCapacity. Programs that call malloc have
// larger bursts than one kind of object has.
func classCapacity(size uintptr, growth int) int {
	return min(maxClassCapacity, max(1, int(sheafBytes*uintptr(growth)/size)))
}

const (
	sheafBytes       = 32 << 10
	maxClassCapacity = 240
)

// classAlign is the alignment that Malloc promises: the largest power of two that
// divides the class, up to a page (kernel: the alignment guarantee of kmalloc).
func classAlign(size uintptr) uintptr { return min(size&-size, 4096) }

// classSlabs bounds the slabs of a class. Beyond a page objects get slabs of up to 128 KiB,
// where also those between powers of two leave little unused, and fewer empty ones stay.
func classSlabs(size uintptr) (s Slabs, minPartial int) {
	if size > 4096 {
		return Slabs{MaxOrder: 5}, 2
	}
	return Slabs{}, 0
}

package slub

import (
	"math/bits"

	"github.com/slubd/slubd/sheaves"
)

// classSizes are the sizes of objects that Malloc hands out, in bytes: powers of two,
// and 96 and 192 between them, where most requests lie (kernel: kmalloc_info, in order
// of size here). The kernel's end with two pages; the two classes more, as large as the
// largest slabs that packing asks for, spare programs that handle buffers the arena's
// lock.
var classSizes = [...]uintptr{8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768}

const (
	numClasses = len(classSizes)
	maxClass   = 32768 // bytes; what is larger gets pages
	maxTabled  = 192   // bytes; beyond there are powers of two only
)

// classTable leads from a size, in words, to its class (kernel: kmalloc_size_index).
var classTable = func() (table [maxTabled/8 + 1]uint8) {
	class := uint8(0)
	for words := range table {
		for uintptr(words)*8 > classSizes[class] {
			class++
		}
		table[words] = class
	}
	return table
}()

// classOf returns the smallest class of at least n bytes, 1 to maxClass.
func classOf(n uint) uint {
	if n <= maxTabled {
		return uint(classTable[(n+7)/8])
	}
	return uint(bits.Len(n-1)) - 1 // 256 is class 7 and needs 8 bits less one
}

// sheafBytes is about how much one sheaf of a class holds.
const sheafBytes = 32 << 10

// classCapacity is the sheaf capacity of a class. The kernel's automatic one is the
// least; programs that call malloc have larger bursts than one kind of object has, and
// fewer CPUs than the kernel must reckon with.
func classCapacity(size uintptr) int {
	least := sheaves.Capacity(size, 0)
	return min(4*least, max(least, int(sheafBytes/size)))
}

// classAlign is the alignment that Malloc promises: the largest power of two that
// divides the class, up to a page (kernel: the alignment guarantee of kmalloc).
func classAlign(size uintptr) uintptr { return min(size&-size, 4096) }

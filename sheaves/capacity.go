package sheaves

import (
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// sheafBytes is about how much one sheaf of automatic capacity holds, unless the
// kernel's would hold more.
const sheafBytes = 16 << 10

// Capacity returns the capacity of a sheaf for objects of size bytes, metadata included.
// want is the capacity asked for: it is raised to the kernel's automatic one
// (calculate_sheaf_capacity, 7.0). 0 asks for the automatic one of this package, which is
// the kernel's times Growth as far as that makes sheaves of 16 KiB. docs/rfcs has the
// measurements.
func Capacity(size uintptr, want int) int {
	if want > 0 {
		return max(want, kernelCapacity(size))
	}
	return automatic(size, Growth())
}

func automatic(size uintptr, growth int) int {
	n := kernelCapacity(size)
	return max(n, min(n*growth, int(sheafBytes/size)))
}

// kernelCapacity is about half of what the kernel's older per-CPU partial lists held,
// since there are two sheaves, then grown until header and array fill a power-of-two
// size.
func kernelCapacity(size uintptr) int {
	switch {
	case size >= mem.PageSize:
		return 4
	case size >= 1024:
		return 12
	case size >= 256:
		return 28
	}
	return 60
}

// Growth is by how much sheaves may be larger than the kernel's, which reckons with
// hundreds of CPUs and caches: the fewer CPUs there are, the less lies in their sheaves.
func Growth() int { return growth(percpu.NumCPU()) }

func growth(cpus int) int {
	switch {
	case cpus <= 16:
		return 4
	case cpus <= 64:
		return 2
	}
	return 1
}

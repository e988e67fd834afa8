package sheaves

import (
	"runtime"

	"github.com/slubd/slubd/internal/mem"
)

// sheafBytes is about how much one sheaf of automatic capacity holds, unless the kernel's would
// hold more.
const sheafBytes = 16 << 10

// largeBytes is how much a sheaf of objects above 64 KiB holds: fewer than the kernel's 4.
const largeBytes = 256 << 10

// Capacity returns the capacity of a sheaf, in objects, for objects of size bytes, metadata
// included. want is the capacity asked for: it is raised to the kernel's automatic one
// (calculate_sheaf_capacity, 7.0). 0 asks for the automatic one of this package, which is the
// kernel's times CapacityFactor, as long as a sheaf then holds at most 16 KiB. For objects above 64
// KiB "the kernel's" is less than its 4: as many as have 256 KiB, or one. docs/rfcs has the
// measurements.
func Capacity(size uintptr, want int) int {
	if want > 0 {
		return max(want, kernelCapacity(size))
	}
	return automatic(size, CapacityFactor())
}

func automatic(size uintptr, factor float64) int {
	n := kernelCapacity(size)
	return max(n, min(int(float64(n)*factor), int(sheafBytes/size)))
}

// kernelCapacity is about half of what the kernel's older per-CPU partial lists held, since there
// are two sheaves, rounded up until header and array fill a power-of-two size.
func kernelCapacity(size uintptr) int {
	switch {
	case size >= mem.PageSize:
		// Objects of the kernel's caches are hardly larger than this.
		return max(1, min(4, int(largeBytes/size)))
	case size >= 1024:
		return 12
	case size >= 256:
		return 28
	}
	return 60
}

// CapacityFactor is how many times as large as the kernel's automatic sheaves may be. It follows
// the number of CPUs that the program runs on at the same time (runtime.GOMAXPROCS): 4 on up to 16,
// 1 on 64 and more, and between them as many as keep what lies in the sheaves of all these CPUs the
// same. How many CPUs the machine has or could have doesn't count, since a CPU has no sheaves
// before it uses them and loses them when it no longer does. A Set or cache reads it once, in New.
func CapacityFactor() float64 { return capacityFactor(runtime.GOMAXPROCS(0)) }

// Sheaves have the largest factor on up to fullFactorCPUs CPUs.
const (
	maxFactor      = 4
	fullFactorCPUs = 16
)

func capacityFactor(cpus int) float64 {
	return max(1, min(maxFactor, maxFactor*fullFactorCPUs/float64(cpus)))
}

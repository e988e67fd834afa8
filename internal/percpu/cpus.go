package percpu

import (
	"math/bits"
	"os"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/sys"
)

// ncpu is the number of possible CPUs, which lockStack compares with.
var ncpu = uint32(possibleCPUs())

// NumCPU returns the number of possible CPUs: while the process lives, CPUs may have any number
// below it, including CPUs that are offline now.
func NumCPU() int { return int(ncpu) }

// kernelCPUs bounds the numbers that the kernel gives to CPUs; 0 if that isn't known. It comes
// from a system call, since memory that sequences write to depends on it: a container may lack the
// files of sysfs or replace them.
var kernelCPUs = func() int {
	mask, err := sys.Affinity()
	if err != nil {
		return 0
	}
	return len(mask) * 64 // sched_getaffinity(2) returns the size of the kernel's own masks
}()

// counted is how many CPUs there are, as far as the kernel's lists and masks say.
var counted = max(1, listed("possible"), listed("online"), highest(allowed()), runningOn()+1)

// CountedCPUs returns how many CPUs there are, as far as is known: NumCPU, or less where the
// kernel's list of possible CPUs can't be believed.
func CountedCPUs() int { return counted }

// possibleCPUs bounds the numbers of CPUs by the kernel's list of possible ones. A container may
// lack it, or show a list of its own, as lxcfs does for other files. If the list lacks a CPU that
// is online, that this process may use or that it runs on, the masks of the kernel bound the
// numbers instead. A false list that shows no such sign is believed; operations on a CPU beyond it
// take the slow path.
func possibleCPUs() int {
	return bound(listed("possible"), counted, kernelCPUs)
}

// bound returns one more than the largest number of a CPU, where possible is that by the kernel's
// list or 0, counted is that of the CPUs that are known, and kernel that of the kernel's masks.
func bound(possible, counted, kernel int) int {
	if possible == 0 || possible < counted {
		return max(counted, kernel)
	}
	return possible
}

// listed returns one more than the largest number in one of the kernel's lists of CPUs, or 0.
func listed(name string) int {
	text, err := os.ReadFile("/sys/devices/system/cpu/" + name)
	if err != nil {
		return 0
	}
	ids, err := cpulist.Parse(string(text))
	if err != nil || len(ids) == 0 {
		return 0
	}
	return ids[len(ids)-1] + 1
}

// allowed returns the mask of CPUs that the calling thread may use.
func allowed() []uint64 {
	mask, _ := sys.Affinity()
	return mask
}

// highest returns one more than the number of the highest bit of a mask, or 0.
func highest(mask []uint64) int {
	for i := len(mask) - 1; i >= 0; i-- {
		if mask[i] != 0 {
			return i*64 + bits.Len64(mask[i])
		}
	}
	return 0
}

// runningOn returns the CPU that the calling thread runs on, or -1.
func runningOn() int {
	cpu, _, err := sys.CPU()
	if err != nil {
		return -1
	}
	return cpu
}

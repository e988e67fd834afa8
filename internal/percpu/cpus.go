package percpu

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/slubd/slubd/internal/sys"
)

// ncpu is the number of possible CPUs, which lockStack compares with.
var ncpu = uint32(possibleCPUs())

// NumCPU returns the number of possible CPUs: every number below it may turn up
// as a CPU while the process lives, CPUs that are offline now included.
func NumCPU() int { return int(ncpu) }

// kernelCPUs bounds the numbers that the kernel gives to CPUs, 0 if that isn't known.
// Unlike the files of sysfs, which a container may lack or show its own of, a system
// call's answer can be relied on for memory that sequences write to.
var kernelCPUs = func() int {
	mask, err := sys.Affinity()
	if err != nil {
		return 0
	}
	return len(mask) * 64 // sched_getaffinity(2) returns the size of the kernel's own masks
}()

// possibleCPUs reads the kernel's list. Without sysfs (a bare container) it takes
// the CPUs that this process may use for all there are; an operation on a CPU
// beyond them takes the slow path.
func possibleCPUs() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err == nil {
		if last, err := lastOf(string(text)); err == nil {
			return last + 1
		}
	}
	return runtime.NumCPU()
}

// lastOf returns the last number of a list such as "0-3,8-11".
func lastOf(list string) (int, error) {
	list = strings.TrimSpace(list)
	return strconv.Atoi(list[strings.LastIndexAny(list, ",-")+1:])
}

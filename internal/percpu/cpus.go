package percpu

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// ncpu is the number of possible CPUs, which the assembly compares with.
var ncpu = uint32(possibleCPUs())

// NumCPU returns the number of possible CPUs: every number below it may turn up
// as a CPU while the process lives, CPUs that are offline now included.
func NumCPU() int { return int(ncpu) }

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

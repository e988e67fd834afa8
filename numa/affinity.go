package numa

import (
	"fmt"

	"github.com/slubd/slubd/internal/sys"
)

// SetAffinity restricts the calling thread to the CPUs, for the locality of
// its memory. The goroutine must be locked to its thread (LockOSThread) until
// it has called restore, which brings back the CPUs allowed before.
//
// Errors: ErrInvalid for no CPU or an impossible id; ErrRefused with EINVAL
// when none of them is online and in the cpuset, or with another errno.
func SetAffinity(cpus ...int) (restore func() error, err error) {
	if len(cpus) == 0 {
		return nil, fmt.Errorf("numa: %w: no CPU to run on", ErrInvalid)
	}
	var want mask
	for _, cpu := range cpus {
		if cpu < 0 || cpu > maxID {
			return nil, fmt.Errorf("numa: %w: there is no CPU %d", ErrInvalid, cpu)
		}
		want.add(cpu)
	}
	before, err := sys.Affinity()
	if err != nil {
		return nil, refused("affinity", err)
	}
	if err := sys.SetAffinity(want); err != nil {
		return nil, refused("affinity", err)
	}
	return func() error { return refused("affinity", sys.SetAffinity(before)) }, nil
}

// Affinity returns the CPUs that the calling thread may run on, ascending. The
// answer is about some thread unless the goroutine is locked to one.
//
// Errors: ErrRefused with the errno.
func Affinity() ([]int, error) {
	m, err := sys.Affinity()
	return mask(m).ids(), refused("affinity", err)
}

// CurrentCPU returns the CPU that the goroutine runs on, which may be another
// one by the time it is looked at.
//
// Errors: ErrRefused with the errno.
func CurrentCPU() (int, error) {
	cpu, _, err := sys.CPU()
	return cpu, refused("CPU query", err)
}

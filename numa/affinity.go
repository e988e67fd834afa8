package numa

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/sys"
)

// SetAffinity restricts the calling thread to the CPUs, for the locality of its memory. The
// goroutine must be locked to its thread (LockOSThread) until it has called restore, which allows
// the CPUs again that were allowed before.
//
// Errors: ErrInvalid for no CPU or an impossible id; ErrRefused with EINVAL when none of them is
// online and in the cpuset, or with another errno.
func SetAffinity(cpus ...int) (restore func() error, err error) {
	back, err := sys.Pin(cpus)
	switch {
	case errors.Is(err, sys.ErrCPU):
		return nil, fmt.Errorf("numa: %w: %w", ErrInvalid, err)
	case err != nil:
		return nil, refused("affinity", err)
	}
	return func() error { return refused("affinity", back()) }, nil
}

// Affinity returns the CPUs that the calling thread may run on, ascending. Unless the goroutine is
// locked to its thread, the answer may be about another thread.
//
// Errors: ErrRefused with the errno.
func Affinity() ([]int, error) {
	m, err := sys.Affinity()
	return cpulist.Mask(m).IDs(), refused("affinity", err)
}

// CurrentCPU returns the CPU that the goroutine runs on. It may run on another one when the caller
// uses the answer.
//
// Errors: ErrRefused with the errno.
func CurrentCPU() (int, error) {
	cpu, _, err := sys.CPU()
	return cpu, refused("CPU query", err)
}

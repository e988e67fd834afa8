package percpu

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// ErrCPU says that a set of CPUs is empty or names one that can't exist here.
var ErrCPU = errors.New("no such CPU")

// Pin restricts the calling thread, which the caller has locked, to the given CPUs.
// restore, called on the same thread, brings back those allowed before. Pinning buys
// locality and steady latency, never safety: the kernel may overrule it at any time.
//
// Errors: ErrCPU; that of sched_setaffinity(2), EINVAL when none of the CPUs is
// online and in the cpuset; sys.ErrUnsupported outside Linux.
func Pin(cpus []int) (restore func() error, err error) {
	if len(cpus) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrCPU)
	}
	const bits = 64
	mask := make([]uint64, mem.AlignUp(uintptr(NumCPU()), bits)/bits)
	for _, cpu := range cpus {
		if cpu < 0 || cpu >= NumCPU() {
			return nil, fmt.Errorf("%w: %d", ErrCPU, cpu)
		}
		mask[cpu/bits] |= 1 << (cpu % bits)
	}
	before, err := sys.Affinity()
	if err != nil {
		return nil, err
	}
	if err := sys.SetAffinity(mask); err != nil {
		return nil, err
	}
	return func() error { return sys.SetAffinity(before) }, nil
}

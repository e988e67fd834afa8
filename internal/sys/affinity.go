package sys

import (
	"errors"
	"fmt"
)

// maxCPUs is the largest NR_CPUS that kernels are built with; a shorter mask makes
// sched_getaffinity fail on them.
const maxCPUs = 8192

// ErrCPU says that a set of CPUs is empty or has a number that no kernel gives to a CPU.
var ErrCPU = errors.New("no such CPU")

// Pin restricts the calling thread, which the caller has locked, to the given CPUs. restore, called
// on the same thread, brings back those allowed before. Pinning buys locality and steady latency,
// never safety: the kernel may overrule it at any time.
//
// Errors: ErrCPU; that of sched_getaffinity(2) or sched_setaffinity(2), EINVAL when none of the
// CPUs is online and in the cpuset; ErrUnsupported outside Linux.
func Pin(cpus []int) (restore func() error, err error) {
	if len(cpus) == 0 {
		return nil, fmt.Errorf("%w: none given", ErrCPU)
	}
	const bits = 64
	var mask []uint64
	for _, cpu := range cpus {
		if cpu < 0 || cpu >= maxCPUs {
			return nil, fmt.Errorf("%w: %d", ErrCPU, cpu)
		}
		for len(mask) <= cpu/bits {
			mask = append(mask, 0)
		}
		mask[cpu/bits] |= 1 << (cpu % bits)
	}
	before, err := Affinity()
	if err != nil {
		return nil, err
	}
	if err := SetAffinity(mask); err != nil {
		return nil, err
	}
	return func() error { return SetAffinity(before) }, nil
}

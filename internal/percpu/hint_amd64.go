package percpu

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"

	"github.com/slubd/slubd/internal/sys"
)

// rdpid and rdtscp read IA32_TSC_AUX, where Linux keeps the CPU's number in the
// low 12 bits.
func rdpid() uint32
func rdtscp() uint32

// hasRDPID reads CPUID leaf 7, a bit that the cpuid module doesn't carry.
func hasRDPID() bool

// auxCPU is the instruction that tells the CPU here, nil when none is to be
// trusted: some hypervisors and gVisor leave the register at zero.
var auxCPU = chooseAux()

func chooseAux() func() uint32 {
	switch {
	case hasRDPID() && agrees(rdpid):
		return rdpid
	case cpuid.CPU.Supports(cpuid.RDTSCP) && agrees(rdtscp):
		return rdtscp
	}
	return nil
}

// agrees compares the instruction with getcpu(2) on a thread that may be moved
// between the two, hence the tries.
func agrees(read func() uint32) bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 8 {
		before := read()
		cpu, _, err := sys.CPU()
		if err != nil {
			return false
		}
		if after := read(); before == after {
			return int(after&0xfff) == cpu && cpu < NumCPU()
		}
	}
	return false
}

// hint returns the CPU that the caller runs on, or else what its P stands for.
func hint() int {
	if auxCPU != nil {
		if cpu := int(auxCPU() & 0xfff); cpu < NumCPU() {
			return cpu
		}
	}
	return hintP()
}

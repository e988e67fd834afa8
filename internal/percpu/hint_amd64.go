package percpu

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"

	"github.com/slubd/slubd/internal/sys"
)

// rdpid and rdtscp read IA32_TSC_AUX. Linux keeps the CPU's number in its low 12 bits.
func rdpid() uint32
func rdtscp() uint32

// hasRDPID reads a bit of CPUID leaf 7 that the cpuid module doesn't have.
func hasRDPID() bool

// auxCPU is the instruction that reads the CPU's number; nil if none can be trusted, since some
// hypervisors and gVisor leave the register at zero.
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

// agrees compares the instruction with getcpu(2). The thread may move between the two, so it tries
// several times.
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

// knowsCPU reports whether hint is exact.
func knowsCPU() bool { return auxCPU != nil }

// hint returns the CPU that the caller runs on or, where that isn't known, the one where its P was
// last found.
func hint() int {
	if auxCPU != nil {
		if cpu := int(auxCPU() & 0xfff); cpu < NumCPU() {
			return cpu
		}
	}
	return hintP()
}

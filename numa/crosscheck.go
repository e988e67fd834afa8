package numa

import (
	"fmt"

	"github.com/klauspost/cpuid/v2"
	"github.com/slubd/slubd/internal/mem"
)

// cpuFacts is what can be learnt about CPU 0 from two sides; 0 is unknown.
type cpuFacts struct {
	cacheLine         int // bytes
	threadsPerCore    int
	threadsPerPackage int
}

// CrossCheck compares sysfs with what the processor says about itself
// (klauspost/cpuid) and with the cache line that slubd is built for, one text
// for each difference. Virtual machines differ harmlessly; sysfs is what slubd
// goes by.
func (t *Topology) CrossCheck() []string {
	cpu := cpuid.CPU
	return t.sysfs.cpuFacts().differences(cpuFacts{cpu.CacheLine, cpu.ThreadsPerCore, cpu.LogicalCores})
}

// cpuFacts reads sysfs' side. What can't be read stays unknown.
func (s sysfs) cpuFacts() cpuFacts {
	const cpu0 = cpuDir + "cpu0/"
	line, _ := s.number(cpu0 + "cache/index0/coherency_line_size")
	core, _ := s.list(cpu0 + "topology/thread_siblings_list")
	pack, _ := s.list(cpu0 + "topology/core_siblings_list")
	return cpuFacts{line, len(core), len(pack)}
}

func (f cpuFacts) differences(cpuid cpuFacts) []string {
	var diffs []string
	compare := func(what string, sysfs int, other string, value int) {
		if sysfs != 0 && value != 0 && sysfs != value {
			diffs = append(diffs, fmt.Sprintf("%s: sysfs says %d, %s %d", what, sysfs, other, value))
		}
	}
	compare("bytes per cache line", f.cacheLine, "cpuid", cpuid.cacheLine)
	compare("bytes per cache line", f.cacheLine, "slubd assumes", mem.CacheLine)
	compare("threads per core", f.threadsPerCore, "cpuid", cpuid.threadsPerCore)
	compare("threads per package", f.threadsPerPackage, "cpuid", cpuid.threadsPerPackage)
	return diffs
}

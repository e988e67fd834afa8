package numa

import (
	"fmt"
	"runtime"

	"github.com/klauspost/cpuid/v2"
	"github.com/slubd/slubd/internal/mem"
)

// Difference is a fact about CPU 0 that sysfs and another source do not agree on.
type Difference struct {
	Fact   string // "bytes per cache line", "threads per core" or "threads per package"
	Sysfs  int    // what sysfs says
	Source string // the other source: "cpuid", which is the processor itself, or "slubd"
	Other  int    // what the other source says; for slubd, what it is built for
}

// String says it in words, for a log: "threads per core: sysfs says 2, cpuid 1".
func (d Difference) String() string {
	return fmt.Sprintf("%s: sysfs says %d, %s %d", d.Fact, d.Sysfs, d.Source, d.Other)
}

// CrossCheck compares sysfs with what the processor says about itself (klauspost/cpuid) and with
// the cache line that slubd is built for. It returns nil if they agree or don't know. In virtual
// machines the two often differ, which does no harm: slubd takes the topology from sysfs. The
// metric slubd_topology_difference_info has the result for System.
//
// It reads three files of sysfs. Any goroutine may call it.
func (t *Topology) CrossCheck() []Difference {
	cpu := cpuid.CPU
	if runtime.GOARCH == "arm64" {
		cpu.LogicalCores = 0 // the package counts all CPUs there: the processor doesn't say
	}
	return t.sysfs.cpuFacts().differences(cpuFacts{
		cacheLine: cpu.CacheLine, threadsPerCore: cpu.ThreadsPerCore, threadsPerPackage: cpu.LogicalCores,
	})
}

// cpuFacts is what two sources can know of CPU 0; 0 is unknown.
type cpuFacts struct {
	cacheLine         int // bytes
	threadsPerCore    int
	threadsPerPackage int
}

// cpuFacts reads what sysfs has. A fact that can't be read stays unknown.
func (s sysfs) cpuFacts() cpuFacts {
	const cpu0 = cpuDir + "cpu0/"
	line, _ := s.number(cpu0 + "cache/index0/coherency_line_size")
	core, _ := s.list(cpu0 + "topology/thread_siblings_list")
	pack, _ := s.list(cpu0 + "topology/core_siblings_list")
	return cpuFacts{cacheLine: line, threadsPerCore: len(core), threadsPerPackage: len(pack)}
}

// differences compares what sysfs has with what cpuid has.
func (f cpuFacts) differences(cpuid cpuFacts) []Difference {
	var diffs []Difference
	compare := func(fact string, sysfs int, source string, other int) {
		if sysfs != 0 && other != 0 && sysfs != other {
			diffs = append(diffs, Difference{Fact: fact, Sysfs: sysfs, Source: source, Other: other})
		}
	}
	compare("bytes per cache line", f.cacheLine, "cpuid", cpuid.cacheLine)
	compare("bytes per cache line", f.cacheLine, "slubd", mem.CacheLine)
	compare("threads per core", f.threadsPerCore, "cpuid", cpuid.threadsPerCore)
	compare("threads per package", f.threadsPerPackage, "cpuid", cpuid.threadsPerPackage)
	return diffs
}

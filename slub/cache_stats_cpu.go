package slub

import (
	"runtime"
	"slices"

	"github.com/slubd/slubd/numa"
)

// CPUStats has the figures of a cache on one CPU.
type CPUStats struct {
	CPU  int
	Node numa.Node // of its own allocations
	// Main, Spare and RCU are objects in the CPU's sheaves: free ones in main and spare, and those
	// in rcu_free that gather for a grace period.
	Main, Spare, RCU int
	// Events are counted where the calling goroutine ran at that moment. What Locals do themselves
	// is in none of them.
	Events [NumEvents]uint64
}

// CPUStats reads the figures of the CPUs that the cache has been used on, by number. Any goroutine,
// also after Close. It does not disturb the fast paths, takes no lock, and costs some microseconds
// for each of these CPUs. The kernel's files have them as " C0=7 C3=12" behind the sum.
func (c *Cache) CPUStats() (list []CPUStats) {
	at := func(cpu int) *CPUStats {
		i, found := slices.BinarySearchFunc(list, cpu, func(s CPUStats, cpu int) int { return s.CPU - cpu })
		if !found {
			list = slices.Insert(list, i, CPUStats{CPU: cpu, Node: c.nodeAt(c.nodeOf.Index(cpu))})
		}
		return &list[i]
	}
	if c.sheaves != nil {
		for _, s := range c.sheaves.CPUStats() {
			st := at(s.CPU)
			st.Main, st.Spare, st.RCU, st.Events = s.Main, s.Spare, s.RCU, s.Events
		}
	}
	for e := range NumEvents {
		for cpu, n := range c.counters.PerCPU(int(e)) {
			at(cpu).Events[e] += n
		}
	}
	for cpu, n := range c.counters.PerCPU(int(reclaimed)) {
		at(cpu).Events[FreeSlowpath] += n
	}
	runtime.KeepAlive(c) // see lease
	return list
}

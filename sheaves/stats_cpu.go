package sheaves

import (
	"github.com/slubd/slubd/internal/percpu"
)

// CPUStats is a reading of one CPU's sheaves, those for objects of other nodes included.
type CPUStats struct {
	CPU              int
	Node             int // index of the node that it allocates on
	Main, Spare, RCU int // objects in main, spare and rcu_free
	Events           [NumEvents]uint64
}

// CPUStats reads the CPUs that the Set has been used on, by number. The events of all are Stats's,
// except for moments in between. Any goroutine may call it. It waits for stacks' locks that are
// held, and takes none.
func (s *Set) CPUStats() (list []CPUStats) {
	byCPU := make([]*CPUStats, percpu.NumCPU())
	at := func(cpu int) *CPUStats {
		if byCPU[cpu] == nil {
			byCPU[cpu] = &CPUStats{CPU: cpu, Node: s.homes.Index(cpu)}
		}
		return byCPU[cpu]
	}
	for e := range NumEvents {
		for cpu, n := range s.counters.PerCPU(int(e)) {
			at(cpu).Events[e] = n
		}
	}
	unpopped := map[int]uint64{}
	for cpu, n := range s.counters.PerCPU(int(unpops)) { // read before the pops
		unpopped[cpu] = n
	}
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			st := at(cpu)
			main, rcu := c.slots.Snapshot(cpu, percpu.Main), c.slots.Snapshot(cpu, percpu.RCU)
			st.Events[AllocFastpath] += main.Pops
			st.Events[FreeFastpath] += main.Pushes
			st.Events[FreeRCUSheaf] += rcu.Pushes
			st.Main += main.Size
			st.Spare += main.Spare
			st.RCU += rcu.Size
		}
	})
	for _, st := range byCPU {
		if st != nil {
			list = append(list, *st)
		}
	}
	subtract(list, unpopped)
	return list
}

// subtract takes the calls of Unpop off AllocFastpath. A goroutine that has moved to another CPU
// between the pop and Unpop counts the call there: what is more than that CPU's pops is taken off
// others.
func subtract(list []CPUStats, unpopped map[int]uint64) {
	excess := uint64(0)
	for i := range list {
		pops := &list[i].Events[AllocFastpath]
		n := unpopped[list[i].CPU]
		excess += n - min(n, *pops)
		*pops -= min(n, *pops)
	}
	for i := range list {
		pops := &list[i].Events[AllocFastpath]
		n := min(excess, *pops)
		excess -= n
		*pops -= n
	}
}

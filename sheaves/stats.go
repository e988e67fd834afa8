package sheaves

import (
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
)

// What else a Set counts; not events of the kernel.
const (
	// loansClosed counts the loans that ended without a return that an Event counts: prefills that
	// failed, and returns of oversize sheaves.
	loansClosed = NumEvents + iota
	// lentObjects counts the objects of the loans that have not ended, as of Prefill or Refill.
	lentObjects
	// unpops counts the calls of Unpop, remoteUnpops those for objects of RemoteSlots.
	unpops
	remoteUnpops
	numCounters
)

func (s *Set) count(e Event, n int) {
	s.counters.Add(int(e), uint64(n))
	runtime.KeepAlive(s) // the counters are used again when nothing refers to s
}

// Stats is a reading of a Set.
type Stats struct {
	// Events are the counters, exact to the operation once the operations in question have
	// returned. A Set doesn't see slabs: what concerns these is 0, and AllocSlowpath and
	// FreeSlowpath count the objects that Alloc, Free and FreeRCU took from and gave to the Source.
	Events      [NumEvents]uint64
	MainObjects uint64 // free objects in main and spare sheaves
	RCUObjects  uint64 // objects in rcu_free sheaves
	Loans       uint64 // sheaves that Prefill has lent and that are not returned
	Lent        uint64 // objects in them as of Prefill or Refill, taken since or not
	Barns       []BarnStats
	Remote      RemoteStats
	// Limits in force: objects in a sheaf, sheaves in a barn.
	Capacity, MaxFull, MaxEmpty, MaxWaiting int
}

// RemoteStats counts what CPUs do in their sheaves with objects of other nodes than their own. The
// counts are parts of the Set's.
type RemoteStats struct {
	Allocs   uint64 // objects that TryAllocNode has taken; part of AllocFastpath
	Frees    uint64 // objects that were freed there; part of FreeFastpath
	FreesRCU uint64 // part of FreeRCUSheaf
	Objects  uint64 // objects in these sheaves now; part of MainObjects and RCUObjects
}

// addTo adds what the CPUs' stacks count and hold.
func (c *cpuSheaves) addTo(s *Stats) {
	for cpu := range c.slots.CPUsPrefetched() {
		main := c.slots.Snapshot(cpu, percpu.Main)
		rcu := c.slots.Snapshot(cpu, percpu.RCU)
		s.Events[AllocFastpath] += main.Pops
		s.Events[FreeFastpath] += main.Pushes
		s.Events[FreeRCUSheaf] += rcu.Pushes
		s.MainObjects += uint64(main.Size + main.Spare)
		s.RCUObjects += uint64(rcu.Size)
		if c.isRemote {
			s.Remote.Allocs += main.Pops
			s.Remote.Frees += main.Pushes
			s.Remote.FreesRCU += rcu.Pushes
			s.Remote.Objects += uint64(main.Size + main.Spare + rcu.Size)
		}
	}
}

// BarnStats is a reading of one node's barn.
type BarnStats struct {
	Full, Empty, Waiting int    // sheaves
	Objects              uint64 // in full ones
	WaitingObjects       uint64 // in waiting ones
}

// Stats reads the counters and the occupancy. Any goroutine may call it. It takes each barn's mutex
// for a moment, and waits for stacks' locks that are held.
func (s *Set) Stats() Stats {
	st := Stats{Barns: make([]BarnStats, len(s.barns)), Capacity: s.Capacity(),
		MaxFull: s.MaxFull(), MaxEmpty: s.MaxEmpty(), MaxWaiting: s.MaxWaiting()}
	// Unpops are read before the pops that they belong to.
	counts := s.counters.Sums()
	copy(st.Events[:], counts[:])
	lent := st.Events[SheafPrefillFast] + st.Events[SheafPrefillSlow] + st.Events[SheafPrefillOversize]
	back := st.Events[SheafReturnFast] + st.Events[SheafReturnSlow] + counts[loansClosed]
	st.Loans = uint64(max(0, int64(lent-back))) // of different moments
	st.Lent = counts[lentObjects]
	s.all(func(c *cpuSheaves) { c.addTo(&st) })
	st.Events[AllocFastpath] -= counts[unpops]
	st.Remote.Allocs -= counts[remoteUnpops]
	for i := range s.barns {
		st.Barns[i] = s.barns[i].occupancy()
	}
	return st
}

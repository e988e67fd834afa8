package sheaves

import "github.com/slubd/slubd/internal/percpu"

// An Event is something a Set counts off the fast path; the kernel's stat item is
// named beside it.
type Event int

const (
	RCUFail         Event = iota // FREE_RCU_SHEAF_FAIL: refusals of FreeRCU
	Flushed                      // SHEAF_FLUSH: objects
	Refilled                     // SHEAF_REFILL: objects
	SheafAlloc                   // SHEAF_ALLOC: sheaf structures taken from the pool
	SheafFree                    // SHEAF_FREE: structures given back to it
	BarnGet                      // BARN_GET
	BarnGetFail                  // BARN_GET_FAIL
	BarnPut                      // BARN_PUT
	BarnPutFail                  // BARN_PUT_FAIL
	PrefillFast                  // SHEAF_PREFILL_FAST
	PrefillSlow                  // SHEAF_PREFILL_SLOW
	PrefillOversize              // SHEAF_PREFILL_OVERSIZE
	ReturnFast                   // SHEAF_RETURN_FAST
	ReturnSlow                   // SHEAF_RETURN_SLOW
	NodeMismatch                 // ALLOC_NODE_MISMATCH
	NumEvents
)

// What else a Set counts; not events of the kernel.
const (
	unlent = NumEvents + iota // prefills that failed, counted as PrefillX, and returns of oversize sheaves
	numCounters
)

func (s *Set) count(e Event, n int) { s.counters.Add(int(e), uint64(n)) }

// Stats is a reading of a Set.
type Stats struct {
	Events [NumEvents]uint64
	// Operations that the per-CPU stacks answered since the Set was made: objects
	// taken from and put into main, objects accepted by rcu_free. Exact.
	Pops, Pushes, RCUPushes uint64
	MainObjects             uint64 // free objects in main and spare sheaves
	RCUObjects              uint64 // objects in rcu_free sheaves
	Loans                   uint64 // sheaves that Prefill has lent and that are not returned
	Barns                   []BarnStats
	// Limits in force: objects in a sheaf, sheaves in a barn.
	Capacity, MaxFull, MaxEmpty, MaxWaiting int
}

// BarnStats is a reading of one node's barn.
type BarnStats struct {
	Full, Empty, Waiting int    // sheaves
	Objects              uint64 // in full ones
	WaitingObjects       uint64 // in waiting ones
}

// Stats reads the counters and the occupancy. Any goroutine; it takes each barn's
// mutex for a moment and no stack's lock for longer than a few loads.
func (s *Set) Stats() Stats {
	st := Stats{Barns: make([]BarnStats, len(s.barns)), Capacity: s.Capacity(),
		MaxFull: s.MaxFull(), MaxEmpty: s.MaxEmpty(), MaxWaiting: s.MaxWaiting()}
	for e := range NumEvents {
		st.Events[e] = s.counters.Sum(int(e))
	}
	lent := st.Events[PrefillFast] + st.Events[PrefillSlow] + st.Events[PrefillOversize]
	back := st.Events[ReturnFast] + st.Events[ReturnSlow] + s.counters.Sum(int(unlent))
	st.Loans = uint64(max(0, int64(lent-back))) // of different moments
	for cpu := range percpu.NumCPU() {
		main := s.Slots.Snapshot(cpu, percpu.Main)
		rcu := s.Slots.Snapshot(cpu, percpu.RCU)
		st.Pops += main.Pops
		st.Pushes += main.Pushes
		st.RCUPushes += rcu.Pushes
		st.MainObjects += uint64(main.Size + main.Spare)
		st.RCUObjects += uint64(rcu.Size)
	}
	for i := range s.barns {
		st.Barns[i] = s.barns[i].occupancy()
	}
	return st
}

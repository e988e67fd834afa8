package sheaves

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// Where an object is in a life, as the storm's own table has it. Every step is a
// compare-and-swap from the state that it should have: an object with two owners, or
// one that is used before its grace period is over, makes one fail.
const (
	atRest  = iota // in a sheaf or in the source
	inUse          // in a user's hands, or published
	retired        // given to FreeRCU
)

// stormNodes are the nodes that CPUs take turns in belonging to.
const stormNodes = 2

// A storm is a Set with many users and a table of all objects.
type storm struct {
	*Set
	t      *testing.T
	src    *source
	filter percpu.Filter
	life   []atomic.Int32
	age    []atomic.Uint32 // changes when the object's life begins and ends
	shared [64]atomic.Pointer[byte]

	// What users did, to compare with what the set counted.
	fromSlab, toSlab, pops, pushes, retirements, rcuRefusals, lent, kept atomic.Uint64
}

func newStorm(t *testing.T, delay time.Duration) *storm {
	t.Helper()
	s := &storm{t: t, src: newSource(t, stormNodes),
		life: make([]atomic.Int32, stormNodes*perNode), age: make([]atomic.Uint32, stormNodes*perNode)}
	set, err := New(Config{
		Slots: newSlots(t), Own: own, NodeOfCPU: func(cpu int) int { return cpu % stormNodes }, Nodes: stormNodes, NodeOf: nodeOf,
		Source: checker{s}, Domain: new(rcu.Domain), Capacity: 6, MaxFull: 3, MaxEmpty: 3, MaxWaiting: 8, Delay: delay,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Set = set
	pages := uintptr(stormNodes << nodeShift / mem.PageSize)
	owners := make([]uint32, pages)
	for i := range owners {
		owners[i] = own(i << mem.PageShift >> nodeShift)
	}
	s.filter = percpu.NewFilter(objectBase, pages, unsafe.Pointer(&owners[0]), objectSize, mem.PageSize/objectSize, 0)
	return s
}

// step moves an object from one state to the next.
func (s *storm) step(p unsafe.Pointer, from, to int32) {
	n := number(p)
	if from == atRest || to == atRest {
		s.age[n].Add(1)
	}
	if !s.life[n].CompareAndSwap(from, to) {
		s.t.Errorf("object %d is in state %d, not %d on the way to %d", n, s.life[n].Load(), from, to)
	}
}

// rest checks that objects are where the free ones should be.
func (s *storm) rest(objs []unsafe.Pointer) {
	for _, p := range objs {
		s.step(p, atRest, atRest)
	}
}

// A checker is the Source of a storm's Set: it leaves all but checking to src.
type checker struct{ *storm }

func (s checker) Refill(node int, dst []unsafe.Pointer) int {
	short := 0
	if len(dst) > 4 && len(dst)%2 == 1 {
		short = 1 // now and then; sheaves are refilled from empty, loans from anything
	}
	n := copy(dst, s.src.take(node, len(dst)-short))
	s.rest(dst[:n])
	return n
}

func (s checker) Flush(objs []unsafe.Pointer) {
	s.rest(objs)
	s.src.giveBack(objs)
	clear(objs)
}

// Expire ends lives. The free hooks keep every sixteenth object.
func (s checker) Expire(objs []unsafe.Pointer) (n int) {
	for i, p := range objs {
		s.step(p, retired, atRest)
		if s.age[number(p)].Load()%16 == 0 {
			s.kept.Add(1)
			s.src.giveBack(objs[i : i+1])
			continue
		}
		objs[n] = p
		n++
	}
	return n
}

// quiesce ends the storm: with nothing going on any more the books must balance.
func (s *storm) quiesce() {
	for i := range s.shared {
		if p := unsafe.Pointer(s.shared[i].Swap(nil)); p != nil {
			s.step(p, inUse, atRest)
			s.src.giveBack([]unsafe.Pointer{p})
		}
	}
	(&rig{Set: s.Set, t: s.t}).barrier()
	s.Shrink()
	st := s.Stats()
	if st.MainObjects != 0 || st.RCUObjects != 0 {
		s.t.Errorf("%d objects on CPUs and %d in rcu_free after a flush", st.MainObjects, st.RCUObjects)
	}
	for i, b := range st.Barns {
		if b != (BarnStats{}) {
			s.t.Errorf("barn %d holds %+v after a flush", i, b)
		}
	}
	if s.src.away() != 0 {
		s.t.Errorf("%d objects are lost", s.src.away())
	}
	exactly := func(what string, got, want uint64) {
		if got != want {
			s.t.Errorf("%s: counted %d, want %d", what, got, want)
		}
	}
	exactly("pops", st.Pops, s.pops.Load())
	exactly("pushes", st.Pushes, s.pushes.Load())
	exactly("pushes to rcu_free", st.RCUPushes, s.retirements.Load())
	exactly("loans", st.Loans, 0)
	exactly("refusals of FreeRCU", st.Events[RCUFail], s.rcuRefusals.Load())
	exactly("sheaves", st.Events[SheafAlloc]-st.Events[SheafFree], uint64(percpu.NumCPU()))
	// What went into sheaves has come out again.
	exactly("objects out of sheaves", st.Pops+s.lent.Load()+st.Events[Flushed]+s.kept.Load(),
		st.Events[Refilled]+st.Pushes+st.RCUPushes)
	s.Close()
	if len(s.pool.of) > 0 {
		s.t.Errorf("%d pools are still mapped", len(s.pool.of))
	}
}

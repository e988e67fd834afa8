package sheaves

import (
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// The states of an object, in the stress test's own table. Every step is a compare-and-swap from
// the state that the object should have. It fails if an object has two owners, or is used before
// its grace period is over.
const (
	atRest       = iota // in a sheaf or in the source
	inUse               // in a user's hands, or published
	afterFreeRCU        // given to FreeRCU
)

// stressNodes are the nodes that CPUs take turns in belonging to.
const stressNodes = 2

// A stress is a Set with many users and a table of all objects.
type stress struct {
	*Set
	t      *testing.T
	src    *source
	filter percpu.Filter
	life   []atomic.Int32
	age    []atomic.Uint32 // changes when the object's life begins and ends
	shared [64]atomic.Pointer[byte]

	remoteSlots percpu.Slots // of the nodes' first Others

	// What users did, to compare with what the set counted.
	fromSlab, toSlab, pops, pushes, rcuFrees, rcuRefusals, lent, kept atomic.Uint64
}

func newStress(t *testing.T, delay time.Duration) *stress {
	return newStressOf(t, delay, func(*Config) {})
}

// newStressOf is newStress with another configuration.
func newStressOf(t *testing.T, delay time.Duration, change func(*Config)) *stress {
	t.Helper()
	s := &stress{t: t, src: newSource(t, stressNodes),
		life: make([]atomic.Int32, stressNodes*perNode), age: make([]atomic.Uint32, stressNodes*perNode)}
	cfg := Config{
		Source: checker{stress: s}, Domain: new(rcu.Domain), Capacity: 6, Nodes: stressNodes, NodeOfCPU: taking(stressNodes),
		Delay: delay, MaxFull: 3, MaxEmpty: 3, MaxWaiting: 8, Slots: newSlots(t), Owners: owners(stressNodes),
		NodeMemory: nodeMemory(stressNodes),
	}
	change(&cfg)
	set, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Set = set
	remote, ok := set.RemoteSlots(0)
	if !ok {
		t.Fatal("no stacks for objects of other nodes")
	}
	s.remoteSlots = percpu.Slots(remote)
	pages := uintptr(stressNodes << nodeShift / mem.PageSize)
	owners := make([]owner.Word, pages)
	for i := range owners {
		owners[i] = own(i << mem.PageShift >> nodeShift)
	}
	s.filter = percpu.NewFilter(objectBase, pages, unsafe.Pointer(&owners[0]), objectSize, mem.PageSize/objectSize, 0)
	return s
}

// step moves an object from one state to the next.
func (s *stress) step(p unsafe.Pointer, from, to int32) {
	n := number(p)
	if from == atRest || to == atRest {
		s.age[n].Add(1)
	}
	if !s.life[n].CompareAndSwap(from, to) {
		s.t.Errorf("object %d is in state %d, not %d on the way to %d", n, s.life[n].Load(), from, to)
	}
}

// rest checks that objects are where the free ones should be.
func (s *stress) rest(objs []unsafe.Pointer) {
	for _, p := range objs {
		s.step(p, atRest, atRest)
	}
}

// A checker is the Source of a stress test's Set. It checks the objects' states, and leaves the
// rest to src.
type checker struct{ *stress }

func (s checker) Refill(node int, dst []unsafe.Pointer, strict bool) int {
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

func (s checker) NodeOf(p unsafe.Pointer) int { return nodeOf(p) }

// Reclaim ends lives. The free hooks keep every sixteenth object.
func (s checker) Reclaim(objs []unsafe.Pointer) (n int) {
	for i, p := range objs {
		s.step(p, afterFreeRCU, atRest)
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

// finish ends the test, when no user is left: the counts must add up.
func (s *stress) finish() {
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
	exactly("pops", st.Events[AllocFastpath], s.pops.Load())
	exactly("pushes", st.Events[FreeFastpath], s.pushes.Load())
	exactly("pushes to rcu_free", st.Events[FreeRCUSheaf], s.rcuFrees.Load())
	exactly("loans", st.Loans, 0)
	exactly("refusals of FreeRCU", st.Events[FreeRCUSheafFail], s.rcuRefusals.Load())
	mains := uint64(0) // one on each CPU that has used the Set
	for cpu := range s.slots.CPUs() {
		if s.slots.Snapshot(cpu, percpu.Main).HasSheaf {
			mains++
		}
	}
	exactly("sheaves", st.Events[SheafAlloc]-st.Events[SheafFree], mains)
	// What went into sheaves has come out again.
	exactly("objects out of sheaves", st.Events[AllocFastpath]+s.lent.Load()+st.Events[SheafFlush]+s.kept.Load(),
		st.Events[SheafRefill]+st.Events[FreeFastpath]+st.Events[FreeRCUSheaf])
	s.Close()
	if len(s.pool.of) > 0 {
		s.t.Errorf("%d pools are still mapped", len(s.pool.of))
	}
}

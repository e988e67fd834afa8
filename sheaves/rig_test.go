package sheaves

import (
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// A rig is a Set whose only user is the test, on a CPU of its own choice. Sheaves of
// four objects and barns of two sheaves make for short walks; timers don't run, tick
// is called.
type rig struct {
	*Set
	t     *testing.T
	src   *source
	cpu   int                     // the one that arrange and state are about
	mine  map[unsafe.Pointer]bool // objects in the test's hands
	start [NumEvents]uint64       // counters when arrange was last called

	release func() // unlocks what the test holds

	// Called once, by the next question for a CPU's node, of which there is one at
	// the start of most walks and one in submit.
	onNodeOfCPU func()
}

// newRig makes a rig on CPU 0, with CPUs taking turns in belonging to the nodes.
func newRig(t *testing.T, nodes int) *rig {
	t.Helper()
	return newRigOf(t, nodes, func(*Config) {})
}

// newRigOf is newRig with another configuration.
func newRigOf(t *testing.T, nodes int, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, src: newSource(t, nodes), mine: map[unsafe.Pointer]bool{}}
	cfg := Config{
		Slots: newSlots(t), Own: own,
		NodeOfCPU: func(cpu int) int {
			if hook := r.onNodeOfCPU; hook != nil {
				r.onNodeOfCPU = nil
				hook()
			}
			return cpu % nodes
		},
		Nodes: nodes, NodeOf: nodeOf, Source: r.src, Domain: new(rcu.Domain),
		Capacity: 4, MaxFull: 2, MaxEmpty: 2, Delay: 2 * time.Hour,
	}
	change(&cfg)
	set, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Set = set
	r.moveTo(0)
	t.Cleanup(r.audit)
	return r
}

func newSlots(t *testing.T) percpu.Slots {
	t.Helper()
	s, err := percpu.NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func own(node int) uint32 { return 0x100 + uint32(node) }

// moveTo moves the test to a CPU until it ends.
func (r *rig) moveTo(cpu int) {
	r.t.Helper()
	if cpu >= percpu.NumCPU() {
		r.t.Skipf("needs CPU %d", cpu)
	}
	runtime.LockOSThread()
	restore, err := percpu.Pin([]int{cpu})
	if err != nil {
		r.t.Skip(err)
	}
	r.t.Cleanup(func() {
		if err := restore(); err == nil {
			runtime.UnlockOSThread()
		}
	})
	if at := percpu.CPU(); at != cpu {
		r.t.Skipf("pinned to CPU %d, and %s tells %d", cpu, percpu.Engine(), at)
	}
	r.cpu = cpu
}

// audit closes the set and looks for lost objects and sheaves.
func (r *rig) audit() {
	if r.closed.Load() {
		r.shrinkBarns() // nothing, but for the lists' own bugs
	} else {
		r.Close()
	}
	if away := r.src.away(); away != len(r.mine) {
		r.t.Errorf("%d objects are out, of which the test holds %d", away, len(r.mine))
	}
	if n := r.Stats().Loans; n != 0 {
		r.t.Errorf("%d sheaves count as lent", n)
	}
	if len(r.pool.of) > 0 {
		r.t.Errorf("%d pools are still mapped", len(r.pool.of))
	}
}

// take gives the test n objects of the CPU's node, as if it had allocated them.
func (r *rig) take(n int) []unsafe.Pointer {
	objs := r.src.take(r.NodeOfCPU(r.cpu), n)
	for _, p := range objs {
		r.mine[p] = true
	}
	return objs
}

// got notes that the test holds objects now.
func (r *rig) got(objs ...unsafe.Pointer) {
	r.t.Helper()
	for _, p := range objs {
		if p != nil && r.mine[p] {
			r.t.Errorf("object %v was handed out twice", p)
		}
		if p != nil {
			r.mine[p] = true
		}
	}
}

// gone notes that the test has given objects away.
func (r *rig) gone(objs ...unsafe.Pointer) {
	for _, p := range objs {
		delete(r.mine, p)
	}
}

// hold takes a lock of the CPU, as somebody does who was interrupted there.
func (r *rig) hold(k percpu.Kind) *percpu.Stack { return r.Slots.LockCPU(r.cpu, k) }

// outOfMemory makes the pool's next new sheaf fail, for the rest of the test.
func (r *rig) outOfMemory() {
	p := r.pool.of[r.Capacity()]
	for sh := p.free.pop(); sh != nil; sh = p.free.pop() {
		p.made--
	}
	p.next = p.chunks[len(p.chunks)-1] + p.chunkBytes()
	r.t.Cleanup(sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM))
}

// deadline is for what happens soon, and must happen at all.
const deadline = time.Minute

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > deadline {
			t.Fatalf("after %v still not: %s", deadline, what)
		}
	}
}

// within runs f on the rig's CPU, and fails the test instead of hanging it when f
// doesn't return.
func (r *rig) within(what string, f func()) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() { done <- RunPinned([]int{r.cpu}, f) }()
	select {
	case err := <-done:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(deadline):
		r.t.Fatalf("%s takes longer than %v", what, deadline)
	}
}

// stays gives something that must not happen a fair chance to.
func stays(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
		t.Error(what)
	case <-time.After(20 * time.Millisecond):
	}
}

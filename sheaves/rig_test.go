package sheaves

import (
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/owner"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
)

// A rig is a Set whose only user is the test, on a CPU of the test's choice. Sheaves have four
// objects and barns two sheaves of a kind, so that a few operations go all the way. The timer
// doesn't run; tests call tick.
type rig struct {
	*Set
	t       *testing.T
	src     *source
	backlog *backlog.Backlog        // where limited made one
	cpu     int                     // the one that arrange and state are about
	mine    map[unsafe.Pointer]bool // objects in the test's hands
	start   [NumEvents]uint64       // counters when arrange was last called

	release func() // unlocks what the test holds
}

// tick is what the timer calls.
func (r *rig) tick() { r.timer.Fire() }

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
		Source: r.src, Domain: new(rcu.Domain), Capacity: 4, Nodes: nodes, NodeOfCPU: taking(nodes),
		MaxFull: 2, MaxEmpty: 2, Delay: 2 * time.Hour, Slots: newSlots(t), Owners: owners(nodes),
		NodeMemory: nodeMemory(nodes),
	}
	change(&cfg)
	set, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Set = set
	r.useAllCPUs()
	r.moveTo(0)
	t.Cleanup(r.audit)
	return r
}

// nodeMemory has memory for the barns of nodes that this machine may not have.
func nodeMemory(nodes int) *NodeMemory {
	defer nodemem.AnyNode()()
	on := make([]numa.Node, nodes)
	for i := range on {
		on[i] = numa.Node(i)
	}
	return (*NodeMemory)(nodemem.New(on))
}

// noOthers leaves objects of other nodes to the Source.
func noOthers(c *Config) { c.Others = make([][]int, c.Nodes) }

// useAllCPUs gives every CPU whose node is known its first sheaf, as its first operation would.
func (r *rig) useAllCPUs() {
	r.t.Helper()
	for cpu := range percpu.NumCPU() {
		if !r.homes.Known(cpu) {
			continue
		}
		sh, err := r.newSheaf(r.Capacity())
		if err != nil {
			r.t.Fatal(err)
		}
		st := r.slots.LockCPU(cpu, percpu.Main)
		if !r.installFirst(st, cpu, sh) {
			r.t.Errorf("CPU %d has a sheaf already", cpu)
		}
		st.Unlock()
		st = r.slots.LockCPU(cpu, percpu.RCU)
		st.Install(0, 0, 0, r.owners[r.homes.Index(cpu)])
		st.Unlock()
	}
}

// taking lists the nodes of CPUs that take turns in belonging to them.
func taking(nodes int) (of []int) {
	for cpu := range percpu.NumCPU() {
		of = append(of, cpu%nodes)
	}
	return of
}

// newSlots makes stacks that stay readable after Close.
func newSlots(t *testing.T) Slots {
	t.Helper()
	s, err := percpu.NewSlots()
	if err != nil {
		t.Fatal(err)
	}
	return Slots(s)
}

// own is the owner word of a node's objects.
func own(node int) owner.Word { return owner.Of(1, node) }

func owners(nodes int) (words []uint32) {
	for node := range nodes {
		words = append(words, uint32(own(node)))
	}
	return words
}

// moveTo moves the test to a CPU until it ends.
func (r *rig) moveTo(cpu int) {
	r.t.Helper()
	if cpu >= percpu.NumCPU() {
		r.t.Skipf("needs CPU %d", cpu)
	}
	runtime.LockOSThread()
	restore, err := sys.Pin([]int{cpu})
	if err != nil {
		r.t.Skip(err)
	}
	r.t.Cleanup(func() {
		if err := restore(); err == nil {
			runtime.UnlockOSThread()
		}
	})
	if percpu.Engine() == "trylock" {
		// Where no instruction tells the CPU, that is noted by P, and a goroutine that waits goes
		// on with any of them.
		before := runtime.GOMAXPROCS(1)
		r.t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	}
	if at := percpu.CPUNow(); at != cpu {
		r.t.Skipf("pinned to CPU %d, and %s tells %d", cpu, percpu.Engine(), at)
	}
	r.cpu = cpu
}

// audit closes the set and looks for lost objects and sheaves. A test that was skipped in the
// middle of an operation, since it could not move to another CPU, leaves what that had in hand.
func (r *rig) audit() {
	if r.t.Skipped() {
		return
	}
	if r.closed.Load() {
		r.shrinkBarns() // finds nothing, unless the lists are wrong
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
	objs := r.src.take(r.homes.Index(r.cpu), n)
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

// hold takes a lock of the CPU, as a goroutine does that is interrupted while it has the lock.
func (r *rig) hold(k percpu.Kind) *percpu.Stack { return r.slots.LockCPU(r.cpu, k) }

// outOfMemory makes the pool's next new sheaf fail, for the rest of the test.
func (r *rig) outOfMemory() {
	p := r.pool.of[r.Capacity()]
	for i := range p.nodes {
		n := &p.nodes[i]
		for sh := n.free.pop(); sh != nil; sh = n.free.pop() {
			p.made--
			p.free--
		}
		n.next = n.end
	}
	r.t.Cleanup(sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM))
}

// deadline is for what happens soon, and must happen at all.
const deadline = time.Minute

// eventually waits for what other goroutines do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > deadline {
			t.Fatalf("after %v still not: %s", deadline, what)
		}
	}
}

// within runs f on the rig's CPU, and fails the test instead of hanging it when f doesn't return.
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

// doesNotHappen gives something that must not happen some time to happen.
func doesNotHappen(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
		t.Error(what)
	case <-time.After(20 * time.Millisecond):
	}
}

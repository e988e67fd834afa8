package slub

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/names"
	"github.com/slubd/slubd/internal/nodemem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

const mib = 1 << 20

// ofOneNode gives a config one node, also where the machine has several.
func ofOneNode(t testing.TB, cfg arena.Config) arena.Config {
	t.Helper()
	if numa.System().NodeCount() > 1 {
		cfg.Topology, cfg.Strictness = fakeNodes(t, 1), numa.Off
	}
	return cfg
}

// newArena makes an arena with a small range. It must be empty when the test ends: every cache has
// given back every slab. Nothing is bound to the nodes of a topology that is made up: they are not
// the machine's, and AllocNode would say so. Barns and lists of slabs lie apart by node even so.
// The arena has one node unless cfg names a topology: on the machine's own, a goroutine that moves
// to a CPU of another node finds other slabs there.
func newArena(t testing.TB, cfg arena.Config) *arena.Arena {
	t.Helper()
	if cfg.Topology == nil && cfg.Strictness == numa.Advisory {
		cfg = ofOneNode(t, cfg)
	}
	if cfg.Topology != nil && cfg.Topology != numa.System() && cfg.Strictness == numa.Advisory {
		cfg.Strictness = numa.Off
		defer nodemem.AnyNode()()
	}
	if cfg.Span == 0 {
		cfg.Span = 32 * mib
	}
	a, err := arena.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return // leaks are consequences then
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// open makes a cache in an arena of its own, unless a is given. It must close without a leak when
// the test ends.
func open(t testing.TB, a *arena.Arena, cfg Config) *Cache {
	t.Helper()
	if a == nil {
		a = newArena(t, arena.Config{})
	}
	c, err := New(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return c
}

// fakeNodes returns a topology with the given number of nodes, all with memory. The machine's
// CPUs are distributed over them; with more nodes than CPUs the last nodes have none.
func fakeNodes(t testing.TB, nodes int) *numa.Topology {
	t.Helper()
	list := make([]testutil.SysNode, nodes)
	for i := range list {
		list[i] = testutil.SysNode{ID: i, Memory: 1 << 30}
	}
	for cpu := range numa.System().NumCPU() {
		n := &list[cpu%nodes]
		n.CPUs = append(n.CPUs, cpu)
	}
	topology, err := numa.LoadFS(testutil.SysFS(list...))
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// take allocates n objects one by one.
func take(t testing.TB, c *Cache, n int) []unsafe.Pointer {
	t.Helper()
	ps := make([]unsafe.Pointer, n)
	for i := range ps {
		p, err := c.Alloc()
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = p
	}
	return ps
}

func freeAll(c *Cache, ps []unsafe.Pointer) {
	for _, p := range ps {
		c.Free(p)
	}
}

// slabOf returns the address of the slab around p, which must be of the preferred order.
func slabOf(c *Cache, p unsafe.Pointer) uintptr {
	return uintptr(p) &^ (mem.PageSize<<c.slabs.Order() - 1)
}

// counted compares the counts of slabs, objects and partial slabs with a walk over the arena,
// when the cache is not in use. It waits until retired slabs are back: their callback counts, too.
func counted(t *testing.T, c *Cache, when string) {
	t.Helper()
	same(t, "barrierPages", c.barrierPages(t.Context()), nil)
	nodes, err := c.slabs.Recount()
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	for i, want := range nodes {
		if got := c.slabs.NodeStats(i); got != want {
			t.Errorf("%s: node %d counts %+v, has %+v", when, i, got, want)
		}
	}
	if err := c.Validate(); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

// counter reads one of the counters that Stats doesn't show.
func (c *Cache) counter(e Event) int64 { return int64(c.counters.Sum(int(e))) }

// same fails the test unless err is want.
func same(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// pinned runs f on a thread bound to cpu.
func pinned(t testing.TB, cpu int, f func()) {
	t.Helper()
	undo, err := bind(t, cpu)
	if err != nil {
		t.Fatalf("CPU %d: %v", cpu, err)
	}
	defer undo()
	f()
}

// stay binds the goroutine to the first CPU that it may use, until the test ends. A test calls it
// if it expects an object, or a sheaf, that an earlier operation has left on its CPU. Where the
// system does not bind threads the goroutine stays free.
func stay(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpus, err := numa.Affinity()
	if err == nil {
		var undo func()
		if undo, err = bind(t, cpus[0]); err == nil {
			t.Cleanup(undo)
		}
	}
	if err != nil {
		t.Logf("the kernel may move the goroutine: %v", err)
	}
}

// bind binds the goroutine to a thread, and the thread to cpu, until undo. The trylock engine asks
// for the CPU of the runtime's P where no instruction tells it, and a P is where it was found last,
// on whichever thread. So there is one P then, all threads are bound to cpu, and the P is found
// there before bind returns.
func bind(t testing.TB, cpu int) (undo func(), err error) {
	var steps []func()
	undo = func() {
		for _, step := range slices.Backward(steps) {
			step()
		}
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	runtime.LockOSThread()
	steps = append(steps, runtime.UnlockOSThread)
	if name, _ := Engine(); name == "trylock" {
		procs := runtime.GOMAXPROCS(1)
		steps = append(steps, func() { runtime.GOMAXPROCS(procs) })
		free, err := testutil.BindThreads(cpu)
		if err != nil {
			return nil, err
		}
		steps = append(steps, free)
	}
	restore, err := numa.SetAffinity(cpu)
	if err != nil {
		return nil, err
	}
	steps = append(steps, func() {
		if err := restore(); err != nil {
			t.Error(err)
		}
	})
	percpu.CPUNow()
	return undo, nil
}

// balancing returns hooks that count the objects in use.
func balancing(n *int) hooks.Hooks {
	return hooks.Hooks{
		Alloc: func(hooks.Object) { *n++ },
		Free:  func(hooks.Object) bool { *n--; return false },
	}
}

func prefill(t *testing.T, c *Cache, n int) *Prefilled {
	t.Helper()
	pre, err := c.Prefill(n)
	if err != nil {
		t.Fatal(err)
	}
	return pre
}

// all takes objects with AllocNoWait until it fails.
func all(t *testing.T, c *Cache) (ps []unsafe.Pointer) {
	t.Helper()
	for {
		p, err := c.AllocNoWait()
		if err != nil {
			if err != ErrWouldBlock || p != nil {
				t.Errorf("%p, %v", p, err)
			}
			return ps
		}
		ps = append(ps, p)
	}
}

// A reportRecorder is a cache that keeps its reports.
type reportRecorder struct {
	*Cache
	Reports []*hooks.Report
}

func openRecorder(t *testing.T, a *arena.Arena, cfg Config) *reportRecorder {
	tt := new(reportRecorder)
	cfg.Hooks.Report = func(r *hooks.Report) { tt.Reports = append(tt.Reports, r) }
	tt.Cache = open(t, a, cfg)
	return tt
}

// within waits until done returns true, for up to a minute.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s didn't happen", what)
		}
	}
}

// apart runs f on a goroutine of its own, which f may end.
func apart(f func()) {
	done := make(chan bool)
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// needMerging gives the flag Merge to all caches of a test, as SLUBD_MERGE=1 does.
func needMerging(t *testing.T) {
	before := mergeAll
	mergeAll = true
	t.Cleanup(func() { mergeAll = before })
}

// withoutSamples has the test's caches sample and guard no objects, whatever the environment says,
// where their configs don't ask for that. A sampled or guarded object is not in a slab with others:
// no sheaf has it, and its memory is gone, or faults, when it is free. Tests that look at free
// objects call this, and those that tell which objects, or how many, slabs and sheaves hand out.
func withoutSamples(t testing.TB) {
	profile, guards := processProfileRate, processGuardRate
	none := func() int64 { return 0 }
	processProfileRate, processGuardRate = none, none
	t.Cleanup(func() { processProfileRate, processGuardRate = profile, guards })
}

// fillArena allocates from c until there is no memory.
func fillArena(t *testing.T, c *Cache) (ps []unsafe.Pointer) {
	t.Helper()
	for {
		p, err := c.Alloc()
		if err != nil {
			if !errors.Is(err, ErrNoMemory) {
				t.Fatal(err)
			}
			return ps
		}
		ps = append(ps, p)
	}
}

// An allocation is the result of a call.
type allocation struct {
	p   unsafe.Pointer
	err error
}

func oneOf(p unsafe.Pointer, err error) allocation { return allocation{p, err} }

func (a allocation) FreeTo(free func(unsafe.Pointer)) error {
	if a.err == nil {
		free(a.p)
	}
	return a.err
}

func freeAllBy(free func(unsafe.Pointer), ps []unsafe.Pointer) {
	for _, p := range ps {
		free(p)
	}
}

// elsewhere calls CloseContext on another goroutine: builds with invariants take the test's own
// for the reader.
func elsewhere(ctx context.Context, close func(context.Context) error) error {
	got := make(chan error)
	go func() { got <- close(ctx) }()
	return <-got
}

// stackHolds returns how often the locks of c's stacks have been held.
func stackHolds(c *Cache) (n uint64) {
	for cpu := range c.nodeOf {
		n += c.stacks.Snapshot(cpu, 0).Seq
	}
	return n
}

// startWaiting has the grace periods of all objects start that were given to FreeRCU.
func startWaiting(c *Cache) {
	c.sheaves.StartAll()
	c.freeQueue.StartAll()
}

// freshRegistry empties the registry of caches until the test ends.
func freshRegistry(t *testing.T) {
	set := func(byID []*Cache, inUse names.Set[*Cache]) ([]*Cache, names.Set[*Cache]) {
		caches.mu.Lock()
		defer caches.mu.Unlock()
		oldID, oldNames := caches.byID, caches.names
		caches.byID, caches.names = byID, inUse
		return oldID, oldNames
	}
	byID, inUse := set(nil, names.Set[*Cache]{})
	t.Cleanup(func() { set(byID, inUse) })
}

// newGroup makes a group that must be without members, and charged for nothing, when the test ends.
func newGroup(t testing.TB, cfg GroupConfig) *Group {
	t.Helper()
	g, err := NewGroup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if s := g.Stats(); s.Bytes != 0 || s.Caches+s.Buckets+s.Groups != 0 {
			t.Errorf("at the end: %+v", s)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// first drops the error of an allocation.
func first(p unsafe.Pointer, _ error) unsafe.Pointer { return p }

// setHooks changes the hooks of a cache.
func setHooks(t testing.TB, c *Cache, h hooks.Hooks) {
	t.Helper()
	if err := c.SetHooks(h); err != nil {
		t.Fatal(err)
	}
}

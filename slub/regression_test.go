package slub

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// Bugs that percpu sheaves had while they grew up in the kernel, one test each. Those
// that are missing here are about sheaves alone, and in that package's tests of this
// name; those about slabs and nodes are in regression_slab_test.go. Each test says what
// the bug was and what it would be here.

// kfree_rcu looked for the slab of an address before it had made sure that there is one:
// for vmalloc'ed memory it read a page descriptor that wasn't. What no slab holds are here
// page runs, mappings, and whatever else a program mistakes for an object.
func TestRegression01FreeRCUOfWhatIsNoSlab(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := openTattler(t, a, Config{Size: 64})
	var reports atomic.Int64
	b := openBuckets(t, a, BucketsConfig{Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports.Add(1) }}})
	no, err := nothing()
	if err != nil {
		t.Fatal(err)
	}
	for kind, n := range kinds {
		p := malloc(t, b, n)
		fill(p, n, 0x5c)
		if c.FreeRCU(p); len(c.reports) != 1 {
			t.Errorf("%s, given to a cache: reports %v", kind, c.reports)
		}
		c.reports = nil
		b.FreeRCU(unsafe.Add(p, 16))
		if n := reports.Swap(0); n != 1 {
			t.Errorf("the middle of a %s, given to buckets: %d reports", kind, n)
		}
		if err := b.Barrier(context.Background()); err != nil {
			t.Fatal(err)
		}
		if unlike(p, n, 0x5c) >= 0 || b.Size(p) < n {
			t.Errorf("a %s that was refused is not what it was", kind)
		}
		b.FreeRCU(p)
	}
	b.FreeRCU(no) // points nowhere; ignored
	if err := b.Barrier(context.Background()); err != nil || reports.Load() != 0 || b.large.inUse.Load() != 0 {
		t.Errorf("%v; %d reports, %d large objects left", err, reports.Load(), b.large.inUse.Load())
	}
}

// What sheaves could not take, a backport gave to kmem_cache_free_bulk, which tried the
// sheaves first, could not give them there, and so on until the stack was used up.
func TestRegression06BulkFreeFallback(t *testing.T) {
	c := open(t, nil, Config{Size: 64, BarnFull: 1, BarnEmpty: 1})
	const n = 10_000
	ps := make([]unsafe.Pointer, n)
	for how, back := range map[string]func(){
		"FreeBulk": func() { c.FreeBulk(ps) },
		"Free":     func() { freeAll(c, ps) }, // has the spare flushed, again and again
	} {
		if err := c.AllocBulk(ps); err != nil {
			t.Fatal(err)
		}
		c.Shrink()
		before := c.Stats()
		back()
		after := c.Stats()
		fast := after.Events[FreeFastpath] - before.Events[FreeFastpath]
		slow := after.Events[FreeSlowpath] - before.Events[FreeSlowpath]
		if fast+slow != n || after.InUse != 0 {
			t.Errorf("%s: %d objects to sheaves and %d to slabs, of %d; %d in use", how, fast, slow, n, after.InUse)
		}
		if flushed := after.Events[SheafFlush] - before.Events[SheafFlush]; slow+flushed < n/2 {
			t.Errorf("%s: only %d objects and %d from sheaves went to slabs", how, slow, flushed)
		}
	}
}

// A free that needed an empty sheaf allocated it from a kmalloc cache, whose sheaves may
// need one in turn. Here sheaves are of memory that no cache has a part in.
func TestRegression07SheavesNeedNoCache(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	figures := func() (taken, sheaves uint64) {
		for _, c := range b.Caches() {
			s := c.Stats()
			taken += s.Events[AllocFastpath] + s.Events[AllocSlowpath]
			sheaves += s.Events[SheafAlloc]
		}
		return taken, sheaves
	}
	var ps []unsafe.Pointer
	for _, c := range b.Caches() {
		for range 20 * c.Stats().SheafCapacity {
			if size := c.Stats().Size; size <= 1024 {
				ps = append(ps, malloc(t, b, int(size)))
			}
		}
	}
	taken, sheaves := figures()
	for i, p := range ps {
		if i%2 == 0 {
			b.Free(p)
		} else {
			b.FreeRCU(p)
		}
	}
	if nowTaken, nowSheaves := figures(); nowTaken != taken || nowSheaves == sheaves {
		t.Errorf("%d frees took %d objects and %d sheaves", len(ps), nowTaken-taken, nowSheaves-sheaves)
	}
}

// Aliases of kmalloc caches were given sheaves of their own although they shared the
// slabs of another cache that had some. Here an alias needs no memory off the heap at
// all, and buckets that many ask for at once are made once.
func TestRegression12AliasesHaveNoSheaves(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Name: "boot", Size: 64})
	freeAll(c, take(t, c, 100))
	made := c.Stats().Events[SheafAlloc]
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	alias, err := New(a, Config{Name: "late", Size: 64})
	restore()
	if err != nil {
		t.Fatal(err)
	}
	if now := alias.Stats().Events[SheafAlloc]; now != made || alias.sheaves != c.sheaves {
		t.Errorf("%d sheaves, and %d with an alias", made, now)
	}
	freeAll(alias, take(t, alias, 1000))
	if err := alias.Close(); err != nil {
		t.Error(err)
	}
	freeAll(c, take(t, c, 1000))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Events[SheafAlloc] != s.Events[SheafFree] {
		t.Errorf("%d sheaves were made, %d freed", s.Events[SheafAlloc], s.Events[SheafFree])
	}

	var asking sync.WaitGroup
	var found [8]*Buckets
	for i := range found {
		asking.Go(func() { found[i], _ = DefaultBuckets() })
	}
	asking.Wait()
	for _, b := range found {
		if b == nil || b != found[0] {
			t.Errorf("default buckets %p and %p", b, found[0])
		}
	}
}

// A free that found no empty sheaf woke the thread that reclaims memory; the caller held
// a lock of the scheduler's, which that needs. There is no such thread here; what stands
// for the caller's lock is one that the cache's own hooks take. Frees, which are called
// where programs hold locks of their own, call no destructor and no hook but for the
// objects that they are given.
func TestRegression13FreeTakesNoLockOfTheCaller(t *testing.T) {
	var callers sync.Mutex
	domain := new(rcu.Domain)
	var died atomic.Int64
	c := open(t, nil, Config{Size: 64, Domain: domain, RCUDelay: time.Millisecond, RCUDtor: func(unsafe.Pointer) {
		callers.Lock()
		defer callers.Unlock()
		died.Add(1)
	}})
	ps := take(t, c, 20_000)
	freeRCU(c, ps[:5000])
	if err := domain.Synchronize(context.Background()); err != nil { // what was filled is ready
		t.Fatal(err)
	}
	callers.Lock()
	freeRCU(c, ps[5000:10_000])
	freeAll(c, ps[10_000:15_000])
	c.FreeBulk(ps[15_000:19_000])
	for _, p := range ps[19_000:] {
		c.FreeDeferred(p)
	}
	callers.Unlock()
	if err := c.Barrier(context.Background()); err != nil || died.Load() != 10_000 {
		t.Errorf("%v after %d of 10000 destructors", err, died.Load())
	}
}

// Whenever any cache was destroyed, all caches were flushed and the grace periods of all
// waited for: loading modules took half as long again. Closing a cache doesn't touch
// another, nor wait for a domain that isn't its own.
func TestRegression15CloseFlushesItsOwn(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Name: "going", Size: 64, Flags: NoMerge})
	busy := new(rcu.Domain)
	other := open(t, a, Config{Name: "staying", Size: 64, Flags: NoMerge, Domain: busy, RCUDelay: time.Hour})
	r := busy.Register("never reports")
	for _, each := range []*Cache{c, other} {
		ps := take(t, each, 2000)
		freeAll(each, ps[:1990])
		freeRCU(each, ps[1990:])
	}
	before := other.Stats()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	after := other.Stats()
	if before.Events != after.Events || before.SheafObjects != after.SheafObjects || before.RCUObjects != after.RCUObjects ||
		before.Nodes[0] != after.Nodes[0] || after.SheafObjects == 0 || after.RCUObjects != 10 {
		t.Errorf("before another cache's Close %+v, after %+v", before, after)
	}
	_ = r.Close()
}

// Objects of emergency reserves, handed out to those who free memory, stayed in sheaves
// when they were freed, and the next best got them. There are no reserves here. What must
// not go round in sheaves are objects that somebody has kept, a quarantine for example.
func TestRegression18KeptObjectsInSheaves(t *testing.T) {
	for how, back := range backs {
		c, n := openHooked(t, Config{Size: 64})
		ps := take(t, c, 200)
		pre := prefill(t, c, 50)
		var lent []unsafe.Pointer
		for p := pre.Alloc(); p != nil; p = pre.Alloc() {
			lent = append(lent, p)
		}
		c.Shrink()
		for _, p := range append(ps, lent...) {
			n.keep[uintptr(p)] = true
		}
		if !sanitized {
			for _, p := range lent {
				pre.Free(p)
			}
			lent = nil
		}
		pre.Return()
		back(c, append(ps, lent...))
		s := c.Stats()
		if held := s.SheafObjects + s.RCUObjects + s.Nodes[0].BarnObjects; held != 0 || s.Nodes[0].BarnFull != 0 {
			t.Errorf("%s: sheaves hold %d objects that were kept", how, held)
		}
		for addr := range n.keep {
			c.slabs.free(addr)
		}
	}
}

// The first posting of sheaves, RFC v1, leaves what a CPU's rcu_free holds there until the CPU fills it or somebody
// flushes: on a CPU that falls idle, for good. The kernel does to this day.
func TestRegression21IdleRCUFree(t *testing.T) {
	m := openMortal(t, nil, Config{RCUDelay: time.Millisecond})
	ps := take(t, m.Cache, runtime.NumCPU())
	for cpu, p := range ps {
		pinned(t, cpu, func() { m.FreeRCU(p) })
	}
	within(t, "the end of one object per CPU", func() bool { return m.died.Load() == int64(len(ps)) })
	if n := m.Stats().RCUObjects; n != 0 {
		t.Errorf("%d objects wait", n)
	}
}

package slub_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// One test for each bug of the kernel's per-CPU sheaves that users of a cache would notice;
// docs/kernel-bugs.md lists them all. The comment of a test says what the kernel's bug was and
// what it would be here.

// The kernel's kfree_rcu looked for the slab of an address before it knew that there is one, and
// read an invalid page descriptor for vmalloc'ed memory. Here memory without a slab is a page
// run, a mapping, or any pointer that a program passes by mistake.
func TestFreeRCUOfMemoryWithoutSlab(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := openRecorder(t, a, slub.Config{Size: 64})
	var reports atomic.Int64
	b := openBuckets(t, a, slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports.Add(1) }}})
	no, err := b.Malloc(0)
	if err != nil {
		t.Fatal(err)
	}
	for kind, n := range kinds {
		p := malloc(t, b, n)
		fill(p, n, 0x5c)
		if c.FreeRCU(p); len(c.Reports) != 1 {
			t.Errorf("%s, given to a cache: reports %v", kind, c.Reports)
		}
		c.Reports = nil
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
	if err := b.Barrier(context.Background()); err != nil || reports.Load() != 0 || largeInUse(b) != 0 {
		t.Errorf("%v; %d reports, %d large objects left", err, reports.Load(), largeInUse(b))
	}
}

// In a backport to older kernels, objects that sheaves could not take went to
// kmem_cache_free_bulk, which tried the sheaves first, and so on until the stack overflowed.
func TestBulkFreeDoesNotRecurse(t *testing.T) {
	stay(t)
	c := open(t, nil, slub.Config{Size: 64, BarnFull: 1, BarnEmpty: 1})
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
		fast := after.Events[slub.FreeFastpath] - before.Events[slub.FreeFastpath]
		slow := after.Events[slub.FreeSlowpath] - before.Events[slub.FreeSlowpath]
		if fast+slow != n || after.InUse != 0 {
			t.Errorf("%s: %d objects to sheaves and %d to slabs, of %d; %d in use", how, fast, slow, n, after.InUse)
		}
		if flushed := after.Events[slub.SheafFlush] - before.Events[slub.SheafFlush]; slow+flushed < n/2 {
			t.Errorf("%s: only %d objects and %d from sheaves went to slabs", how, slow, flushed)
		}
	}
}

// A free that needed an empty sheaf allocated it from a kmalloc cache, whose sheaves may need one
// in turn (d9e6a7623938). Here the memory of sheaves does not come from a cache.
func TestSheavesComeFromNoCache(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Span: 256 * mib}), slub.BucketsConfig{})
	figures := func() (taken, sheaves uint64) {
		for _, c := range b.Caches() {
			s := c.Stats()
			taken += s.Events[slub.AllocFastpath] + s.Events[slub.AllocSlowpath]
			sheaves += s.Events[slub.SheafAlloc]
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

// A free that found no empty sheaf woke the thread that reclaims memory, which needs a lock of
// the scheduler that the caller held. Here the caller's lock is one that the cache's own
// destructor takes: a free calls no destructor, and hooks only for the objects that it is given.
func TestFreeTakesNoLockOfTheCaller(t *testing.T) {
	var callers sync.Mutex
	domain := new(rcu.Domain)
	var died atomic.Int64
	c := open(t, nil, slub.Config{Size: 64, Domain: domain, RCUDelay: time.Millisecond, RCUDtor: func(unsafe.Pointer) {
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

// Destroying a cache flushed all caches and waited for the grace periods of all: loading modules
// took half as long again. Here Close does not touch another cache, and waits only for its own
// domain.
func TestCloseFlushesOnlyItsCache(t *testing.T) {
	a := newArena(t, arena.Config{})
	c := open(t, a, slub.Config{Name: "going", Size: 64})
	busy := new(rcu.Domain)
	other := open(t, a, slub.Config{Name: "staying", Size: 64, Domain: busy, RCUDelay: time.Hour})
	r := busy.Register("never reports")
	for _, each := range []*slub.Cache{c, other} {
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

// Objects of emergency reserves, allocated by tasks that free memory, stayed in sheaves when they
// were freed, and any task got them (9338b189be68). There are no reserves here. What must not get
// into sheaves are objects that a Free hook keeps, for a quarantine for example.
func TestKeptObjectsStayOutOfSheaves(t *testing.T) {
	for how, back := range backs {
		c, n := openHooked(t, slub.Config{Size: 64})
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
			freeToSlab(c, mem.Ptr(addr))
		}
	}
}

// The kernel leaves objects in a CPU's rcu_free sheaf until the CPU fills it or a flush comes: on
// a CPU that becomes idle, for good.
func TestRCUFreeOfIdleCPUIsReclaimed(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{RCUDelay: time.Millisecond})
	ps := take(t, m.Cache, runtime.NumCPU())
	for cpu, p := range ps {
		pinned(t, cpu, func() { m.FreeRCU(p) })
	}
	within(t, "the destruction of one object per CPU", func() bool { return m.Died.Load() == int64(len(ps)) })
	// By this count an object waits until its destructor has returned.
	within(t, "the end of all waiting", func() bool { return m.Stats().RCUObjects == 0 })
}

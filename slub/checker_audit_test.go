package slub_test

import (
	"context"
	"runtime"
	"time"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// outside counts the objects in use as the checker knows them.
func (s *subject) outside(workers []*worker, i int) (n int64) {
	for k := range s.published {
		if s.published[k].Load() != nil {
			n++
		}
	}
	for k := range s.crossing {
		if s.crossing[k].Load() != nil {
			n++
		}
	}
	for _, w := range workers {
		n += int64(len(w.held[i]))
	}
	return n
}

// settle frees the objects that the workers left in shared slots.
func (s *subject) settle() {
	for k := range s.published {
		if p := s.published[k].Swap(nil); p != nil {
			s.tally.retired.Add(1)
			s.drop(unsafe.Pointer(p))
		}
	}
	for k := range s.crossing {
		if p := s.crossing[k].Swap(nil); p != nil {
			s.tally.given.Add(1)
			s.leave(unsafe.Pointer(p))
			s.cache.Free(unsafe.Pointer(p))
		}
	}
}

// quiet waits for timers and callbacks: one may hold a sheaf whose objects are then counted
// nowhere.
func (s *subject) quiet() {
	if err := s.cache.Barrier(context.Background()); err != nil {
		s.faultf("Barrier: %v", err)
	}
}

// equal reports a fault if a figure of the cache differs from the checker's.
func (s *subject) equal(what string, got, want int64) {
	if got != want {
		s.faultf("cache %q: %s: %d, want %d", s.cache.Name(), what, got, want)
	}
}

// audit compares the cache's figures with the checker's, to the object, when no worker is running
// and out objects are in use.
func (s *subject) audit(out int64) {
	s.quiet()
	c, st := s.cache, s.cache.Stats()
	failed, loaned, queued := slub.UnlistedCounts(c)
	event := func(e slub.Event) int64 { return int64(st.Events[e]) }
	taken := event(slub.AllocFastpath) + event(slub.AllocSlowpath) - failed + loaned
	given := event(slub.FreeFastpath) + event(slub.FreeSlowpath) + event(slub.FreeRCUSheaf) + queued
	if s.tally.failed.Load() == 0 {
		s.equal("objects taken", taken, s.tally.taken.Load())
		s.equal("objects given back", given, s.tally.given.Load()+s.tally.retired.Load())
	}
	s.equal("taken minus given back", taken-given, out)
	s.equal("InUse", int64(st.InUse), out)
	s.equal("AllocFailures", int64(st.AllocFailures), s.tally.failed.Load())
	s.equal("ForeignFrees", int64(st.ForeignFrees), 0)
	if len(st.Nodes) == 1 {
		s.equal("objects that tried the rcu sheaf", event(slub.FreeRCUSheaf)+event(slub.FreeRCUSheafFail), s.tally.retired.Load())
	}

	s.auditPlaces(out, loaned, queued)
	if st.Events[slub.BarnGet] > st.Events[slub.BarnPut] {
		s.faultf("cache %q: %d full sheaves obtained, %d put", c.Name(), st.Events[slub.BarnGet], st.Events[slub.BarnPut])
	}
}

// auditPlaces checks that each object of each slab is in one place, and that objects which went
// into sheaves came out again or are still there. The timer that trims idle sheaves may have some
// objects in its hands: these turn up, and lost ones don't.
func (s *subject) auditPlaces(out, loaned, queued int64) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		st := s.cache.Stats()
		event := func(e slub.Event) int64 { return int64(st.Events[e]) }
		parked := int64(st.SheafObjects + st.RCUObjects + st.Locals.Objects)
		var objects, inSlabs int64
		for _, n := range st.Nodes {
			parked += int64(n.BarnObjects)
			inSlabs += int64(n.FreeInSlabs)
			objects += int64(n.Objects)
		}
		in := event(slub.SheafRefill) + event(slub.FreeFastpath) + event(slub.FreeRCUSheaf)
		gone := event(slub.AllocFastpath) + loaned + event(slub.SheafFlush)
		objects -= slub.WaitingObjects(s.cache)
		slabs, made := slabsOf(st), st.Events[slub.AllocSlab]-st.Events[slub.FreeSlab]
		sound := objects == parked+inSlabs+out && in-gone == parked-queued && slabs <= made
		if sound || time.Since(start) > 10*time.Second {
			s.equal("objects of all slabs", objects, parked+inSlabs+out)
			s.equal("objects in sheaves", in-gone, parked-queued)
			if slabs > made {
				s.faultf("cache %q: %d slabs, of %d that were made and not freed", s.cache.Name(), slabs, made)
			}
			return
		}
	}
}

// slabsOf returns the number of slabs on all nodes.
func slabsOf(st slub.Stats) (slabs uint64) {
	for _, n := range st.Nodes {
		slabs += n.Slabs
	}
	return slabs
}

// awaitLostLocals waits until the collector has found the Locals that were lost. Cleanups wait in a
// P of Go's scheduler until a collection has swept. If GOMAXPROCS is lowered before that, as
// TestCheckerDisturbed does, Go 1.26 forgets those of the Ps that go, until it has as many again
// (cleanupQueue.flush).
func (s *subject) awaitLostLocals() {
	const mostProcs = 64
	if s.cache.Stats().Locals.Open > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(mostProcs))
	}
	for s.cache.Stats().Locals.Open > 0 {
		runtime.GC()
		runtime.Gosched()
	}
}

// closeAndAudit closes the cache when all objects are free, and checks that nothing is left.
func (s *subject) closeAndAudit() {
	s.audit(0)
	if s.config.RCUDtor != nil {
		s.equal("destructor calls", int64(s.died.Load()), s.tally.retired.Load())
	}
	s.equal("Alloc hooks minus Free hooks", s.hookIn.Load(), 0)
	s.awaitLostLocals()
	if err := s.cache.Close(); err != nil {
		s.faultf("%v", err)
	}
	for _, n := range s.cache.Stats().Nodes {
		s.equal("slabs after Close", int64(n.Slabs), 0)
		s.equal("partial slabs after Close", int64(n.Partial), 0)
	}
	s.auditSheaves()
}

// auditSheaves checks that every sheaf of a closed cache is back, and with the last one the memory
// of all.
func (s *subject) auditSheaves() {
	pools, out := slub.SheavesLeft(s.cache)
	s.equal("sheaves that are out after Close", out, 0)
	s.equal("pools of sheaves after Close", pools, 0)
}

package slub

import (
	"context"
	"unsafe"
)

// outside counts the objects that the checker knows to be out.
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

// settle frees what the workers left in common places.
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

// quiet waits for those who are at work on their own: a timer or a callback may have
// a sheaf in its hands, whose objects are nowhere then.
func (s *subject) quiet() {
	if err := s.cache.Barrier(context.Background()); err != nil {
		s.faultf("Barrier: %v", err)
	}
}

// equal reports a figure of the cache that the checker knows better.
func (s *subject) equal(what string, got, want int64) {
	if got != want {
		s.faultf("cache %q: %s: %d, want %d", s.cache.Name(), what, got, want)
	}
}

// audit compares the cache's figures with the checker's, to the object, when no
// worker is at work and out objects are out.
func (s *subject) audit(out int64) {
	s.quiet()
	c, st := s.cache, s.cache.Stats()
	event := func(e Event) int64 { return int64(st.Events[e]) }
	taken := event(AllocFastpath) + event(AllocSlowpath) - c.counter(singleFailed) + c.counter(loaned)
	given := event(FreeFastpath) + event(FreeSlowpath) + event(FreeRCUSheaf) + c.rcuQueue.pending.Load()
	if s.tally.failed.Load() == 0 {
		s.equal("objects taken", taken, s.tally.taken.Load())
		s.equal("objects given back", given, s.tally.given.Load()+s.tally.retired.Load())
	}
	s.equal("taken less given back", taken-given, out)
	s.equal("InUse", int64(st.InUse), out)
	s.equal("AllocFailures", int64(st.AllocFailures), s.tally.failed.Load())
	s.equal("ForeignFrees", int64(st.ForeignFrees), 0)
	if len(st.Nodes) == 1 {
		s.equal("objects that tried the rcu sheaf", event(FreeRCUSheaf)+event(FreeRCUSheafFail), s.tally.retired.Load())
	}

	// Every object of every slab is somewhere, once.
	free := st.SheafObjects + st.RCUObjects
	var objects, slabs uint64
	for _, n := range st.Nodes {
		free += n.BarnObjects + n.FreeInSlabs
		objects += n.Objects
		slabs += n.Slabs
	}
	s.equal("objects of all slabs", int64(objects), int64(free)+out)
	if made := st.Events[AllocSlab] - st.Events[FreeSlab]; slabs > made {
		s.faultf("cache %q: %d slabs, of %d that were made and not freed", c.Name(), slabs, made)
	}
	// What went into sheaves came out again or is still there.
	in := event(SheafRefill) + event(FreeFastpath) + event(FreeRCUSheaf)
	gone := event(AllocFastpath) + c.counter(loaned) + event(SheafFlush)
	parked := int64(st.SheafObjects)
	for _, n := range st.Nodes {
		parked += int64(n.BarnObjects)
	}
	parked += int64(st.RCUObjects) - c.rcuQueue.pending.Load()
	s.equal("objects in sheaves", in-gone, parked)
	if st.Events[BarnGet] > st.Events[BarnPut] {
		s.faultf("cache %q: %d full sheaves obtained, %d put", c.Name(), st.Events[BarnGet], st.Events[BarnPut])
	}
}

// bury closes the cache when all is free, and looks at what is left.
func (s *subject) bury() {
	s.audit(0)
	if s.config.RCUDtor != nil {
		s.equal("destructor calls", int64(s.died.Load()), s.tally.retired.Load())
	}
	s.equal("Alloc hooks less Free hooks", s.hookIn.Load(), 0)
	if err := s.cache.Close(); err != nil {
		s.faultf("%v", err)
	}
	st := s.cache.Stats()
	for _, n := range st.Nodes {
		s.equal("slabs after Close", int64(n.Slabs), 0)
		s.equal("partial slabs after Close", int64(n.Partial), 0)
	}
	s.equal("sheaves after Close", int64(st.Events[SheafAlloc])-int64(st.Events[SheafFree]), 0)
}

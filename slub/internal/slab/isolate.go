package slab

import (
	"fmt"
	"sync"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/text"
)

// An object that is freed twice counts twice. So its slab is empty by the count while another of
// its objects is in use, and if its pages went back to the arena, another cache would write to that
// object. A slab's pages therefore go back only if each of its objects is untouched or in the
// chain, and a refill hands out a whole chain only if it has as many objects as the count says, and
// none of the untouched ones.
//
// A slab that fails is isolated: it keeps its pages and its owner word for good, has no chain
// and is on no list, so nothing is allocated from it. Objects that are freed into it later stay
// there: those that were in use are freed as usual by their holders, which did nothing wrong.
//
//	isolated: chain none, untouched 0, inuse = objects, not listed
//
// It is reported once, by the operation that has found it, when everything else that the operation
// has in its hands is in its place.

// A Damage says why a slab is isolated, what was freed that is no object any more, or what was
// written beside a guarded object.
type Damage struct {
	Slab   uintptr // address of the slab
	Object uintptr // the object freed twice, or whose link is wrong; 0 if that can't be told
	Twice  bool    // the object was freed twice
	Gone   bool    // the slab has gone back to the arena before
	Beside bool    // something was written beside a guarded object; its slab is gone
	Stale  bool    // something was written to the object since it was freed; its slab is gone
	Detail string  // what was found
	// History says where a guarded object was allocated and freed, in several lines; or "".
	History string
}

// damages are the findings that are to be reported.
type damages struct {
	mu   sync.Mutex
	list []Damage
}

// Isolated returns the number of slabs that are isolated.
func (s *Slabs) Isolated() int64 { return s.isolated.Load() }

// isWhole reports whether all objects of a slab are untouched or in its chain, once each. The link
// of an object alone says which one follows. So a chain that visits an object twice never ends, and
// one that ends after as many objects as were ever handed out, none of them untouched, has them
// all.
func (s *Slabs) isWhole(r Ref) bool {
	st := r.load()
	obj, within := r.first(st), s.reachOf(r, st)
	for range r.objects - st.untouched {
		if obj == 0 || uint32(obj-r.addr)%uint32(s.size) != 0 || s.isOutside(within, r, st, obj) {
			return false
		}
		next, ok := s.nextInSlab(obj, r)
		if !ok {
			return false
		}
		obj = next
	}
	return obj == 0
}

// diagnose says what is wrong with the chain of st; ok if nothing is. Nothing takes from the chain
// meanwhile.
func (s *Slabs) diagnose(r Ref, st slabState) (d Damage, ok bool) {
	d.Slab = s.Addr(r)
	n, k := r.chained(st), 0
	seen := make([]bool, r.objects)
	s.markUntouched(r, st, seen)
	for obj := r.first(st); obj != 0; k++ {
		d.Object = obj
		off := obj - r.addr
		i := off / s.size
		if off%s.size != 0 || i >= uintptr(r.objects) {
			d.Detail = fmt.Sprintf("free object %d of %d lies at +%#x, where no object starts", k+1, n, off)
			return d, false
		}
		if seen[i] {
			d.Twice = true
			d.Detail = fmt.Sprintf("the chain of free objects comes back to +%#x", off)
			if s.isUntouched(r, st, uint32(i)) {
				d.Detail = fmt.Sprintf("the object at +%#x was freed, but never handed out since its slab was made", off)
			}
			return d, false
		}
		seen[i] = true
		next, sound := s.nextInSlab(obj, r)
		switch to := next - r.addr; {
		case !sound && to < r.Bytes():
			d.Detail = fmt.Sprintf("the free object at +%#x leads to +%#x, where no object starts", off, to)
			return d, false
		case !sound:
			d.Detail = fmt.Sprintf("the free object at +%#x leads out of the slab", off)
			return d, false
		}
		obj = next
	}
	d.Object = 0
	if k == n {
		return Damage{}, true
	}
	d.Twice = k < n // objects that count as free, and are not in the chain
	d.Detail = fmt.Sprintf("the chain has %s, the count says %d", text.Count(k, "free object", "free objects"), n)
	return d, false
}

// isolate takes a slab out of use. The slab is on no list, and the caller holds its node's lock.
func (s *Slabs) isolate(r Ref) {
	r.isolated = true
	st := r.load()
	for !r.state.CompareAndSwap(st.pack(), slabState{inuse: r.objects}.pack()) {
		st = r.load()
	}
	s.countFree(r.node, -int(int32(r.objects-st.inuse)))
	s.isolated.Add(1)
}

// note keeps d to be reported by reportDamages.
func (s *Slabs) note(d Damage) {
	s.damages.mu.Lock()
	defer s.damages.mu.Unlock()
	s.damages.list = append(s.damages.list, d)
}

// reportDamages reports what has been noted. If a report doesn't return, the next call has the
// rest.
func (s *Slabs) reportDamages() {
	for {
		s.damages.mu.Lock()
		list := s.damages.list
		if len(list) == 0 {
			s.damages.mu.Unlock()
			return
		}
		d := list[0]
		s.damages.list = list[1:]
		s.damages.mu.Unlock()
		s.onDamage(d)
	}
}

// discard gives back a slab whose objects are all free and which is on no list, or retires it. If
// its chain doesn't have all of them, it isolates the slab instead, which is not gone then. If
// the result is not clean, as then or where Config.Inspect has found something, the caller calls
// reportDamages when it has nothing in its hands.
//
// The check costs about 2 ns for each object that the processor's cache has: 120 ns for a slab of
// 64 objects, which takes 460 ns to make, fill and free in two bulks, and longer one by one.
func (s *Slabs) discard(r Ref) (gone, clean bool) {
	if !s.isWhole(r) {
		s.isolateEmpty(r)
		return false, false
	}
	clean = s.inspect == nil || s.inspectAll(r)
	if s.afterGracePeriod != nil {
		s.retire(r)
		return true, clean
	}
	s.giveBack(r, r.objects)
	return true, clean
}

// inspectAll inspects the objects of a slab that is on no list, and of which none is out. It
// returns false if it has found something.
func (s *Slabs) inspectAll(r Ref) (clean bool) {
	clean = true
	for i := range r.objects {
		obj := s.Object(r, i)
		if found := s.inspect(obj); found != "" {
			s.note(Damage{Slab: s.Addr(r), Object: obj, Stale: true, Detail: found})
			clean = false
		}
	}
	return clean
}

// isolateEmpty isolates an empty slab that is on no list and whose chain is not whole.
//
//go:noinline
func (s *Slabs) isolateEmpty(r Ref) {
	n := &s.nodes[r.node]
	n.mu.Lock()
	defer n.unlock()
	d, ok := s.diagnose(r, r.load())
	if ok { // what was wrong has changed since: an object is being freed that is free
		d = Damage{Slab: s.Addr(r), Twice: true, Detail: "an object was freed while its slab went back to the arena"}
	}
	s.isolate(r)
	s.note(d)
}

// discardAll discards a list of slabs by their links and returns their number. Those that are
// isolated are not counted, and are reported at the end.
func (s *Slabs) discardAll(link uint32) (freed int) {
	damaged := false
	for link != 0 {
		r := s.linked(link)
		link = r.next // first: then the descriptor must not be read any more
		gone, clean := s.discard(r)
		if gone {
			freed++
		}
		damaged = damaged || !clean
	}
	if damaged {
		s.reportDamages()
	}
	return freed
}

// refuseFree is addFree for objects of a slab of which too few are out: at least one of them was
// freed twice, or another one before. The caller holds nd.mu; refuseFree unlocks it. A slab whose
// chain is good stays as it is, without them. Otherwise it is isolated, unless it is in a
// refill's hands, which finds out by itself.
//
//go:noinline
func (s *Slabs) refuseFree(nd *node, r Ref, obj uintptr) finding {
	defer nd.unlock()
	st := r.load()
	if r.listed {
		if d, ok := s.diagnose(r, st); !ok {
			nd.remove(s, r)
			s.isolate(r)
			s.note(d)
			return finding{damaged: true}
		}
	}
	return finding{obj: obj, twice: true}
}

// isolateTaken isolates a slab from which a refill has taken the chain of st, which has more or
// fewer objects than by the count, or an untouched one.
//
//go:noinline
func (s *Slabs) isolateTaken(r Ref, st slabState) finding {
	nd := &s.nodes[r.node]
	d, _ := s.diagnose(r, st)
	nd.mu.Lock()
	defer nd.unlock()
	if r.listed { // what was freed since is in its chain
		nd.remove(s, r)
	}
	s.isolate(r)
	s.note(d)
	return finding{damaged: true}
}

// IsolateDamaged isolates the slabs whose chain is damaged, and returns what was found in each
// instead of reporting it. It is Validate for a cache whose use has ended, and costs the same.
func (s *Slabs) IsolateDamaged() (found []Damage) {
	for r := range s.all() {
		if d, ok := s.isolateIfDamaged(r); !ok {
			found = append(found, d)
		}
	}
	return found
}

func (s *Slabs) isolateIfDamaged(r Ref) (d Damage, ok bool) {
	n := &s.nodes[r.node]
	n.mu.Lock()
	defer n.unlock()
	if d, ok = s.validate(r); !ok {
		n.remove(s, r)
		s.isolate(r)
	}
	return d, ok
}

// freeGone reports objects of which the slab has gone back to the arena before: they were freed
// twice, and the second time lay in a sheaf when the slab became empty.
//
//go:noinline
func (s *Slabs) freeGone(slab, obj uintptr, rest func()) {
	callback.Guard(func() {
		s.onDamage(Damage{Slab: slab, Object: obj, Twice: true, Gone: true,
			Detail: "its slab has gone back to the arena since it was freed"})
	}, rest)
}

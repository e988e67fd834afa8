package slub_test

import (
	"os"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// An op is one kind of operation on the i-th subject.
type op func(w *worker, s *subject, i int)

// burst is the number of pairs that one op does. It is large so that choosing the op costs little.
const burst = 256

// pairs allocates one to four objects and frees them, which is what most programs do.
func pairs(w *worker, s *subject, i int) {
	var ps [4]unsafe.Pointer
	depth := 1 + w.rng.IntN(len(ps))
	for range burst / depth {
		for k := range depth {
			ps[k] = w.alloc(s, i)
		}
		for k := range depth {
			if ps[k] != nil {
				w.free(s, i, ps[k])
			}
		}
	}
}

// flood allocates or frees objects one by one, up to more than the sheaves have room for.
func flood(w *worker, s *subject, i int) {
	n := w.rng.IntN(w.most(s) + 1)
	if w.rng.IntN(2) == 0 {
		for _, p := range w.lose(i, n) {
			w.free(s, i, p)
		}
		return
	}
	for n = min(n, w.most(s)-len(w.held[i])); n > 0; n-- {
		w.keep(s, i, w.alloc(s, i))
	}
}

// bulk allocates by AllocBulk and frees other objects by FreeBulk.
func bulk(w *worker, s *subject, i int) {
	ps := make([]unsafe.Pointer, w.rng.IntN(150))
	if err := s.cache.AllocBulk(ps); err != nil {
		w.missed(s, i, err)
		for _, p := range ps {
			if p != nil {
				s.faultf("failed AllocBulk left %p", p)
			}
		}
		ps = nil
	}
	for _, p := range ps {
		w.took(s, i, p)
	}
	w.held[i] = append(w.held[i], ps...)
	out := w.lose(i, max(len(w.held[i])-w.most(s), w.rng.IntN(150)))
	for _, p := range out {
		s.leave(p)
	}
	w.ops -= len(out)
	w.count[i].given += int64(len(out))
	s.cache.FreeBulk(out)
}

// zero checks that AllocZero clears objects, whatever they held before.
func zero(w *worker, s *subject, i int) {
	if s.config.Ctor != nil {
		return // AllocZero would undo its work
	}
	for range burst / 4 {
		p, err := s.cache.AllocZero()
		if err != nil {
			w.missed(s, i, err)
			return
		}
		if !zeroed(p, s.size) {
			s.faultf("%p is not zero", p)
		}
		w.took(s, i, p)
		w.keep(s, i, p)
	}
}

// onNode checks that AllocNode returns objects of the node that it was asked for.
func onNode(w *worker, s *subject, i int) {
	node := w.nodes[w.rng.IntN(len(w.nodes))]
	for range burst / 8 {
		p, err := s.cache.AllocNode(node)
		if err != nil {
			w.missed(s, i, err)
			return
		}
		if at := s.cache.Arena().NodeOf(uintptr(p)); at != node {
			s.faultf("AllocNode(%d) gave %p on node %d", node, p, at)
		}
		w.took(s, i, p)
		w.keep(s, i, p)
	}
}

// publish puts new objects where readers find them, and gives the old ones to FreeRCU.
func publish(w *worker, s *subject, i int) {
	if s.config.Ctor != nil || s.size < 8 {
		return
	}
	for range burst / 4 {
		p := w.alloc(s, i)
		if p == nil {
			return
		}
		slot := &s.published[w.rng.IntN(len(s.published))]
		if old := slot.Swap((*byte)(p)); old != nil {
			w.ops--
			w.count[i].retired++
			s.drop(unsafe.Pointer(old))
		}
	}
}

// cross exchanges objects with other workers, so that objects are freed on other CPUs.
func cross(w *worker, s *subject, i int) {
	for range burst / 4 {
		p := w.alloc(s, i)
		if p == nil {
			return
		}
		if old := s.crossing[w.rng.IntN(len(s.crossing))].Swap((*byte)(p)); old != nil {
			w.free(s, i, unsafe.Pointer(old))
		}
	}
}

// prefilled allocates from a prefilled sheaf, refills it and frees into it.
func prefilled(w *worker, s *subject, i int) {
	if s.config.Flags&slub.NoSheaves != 0 {
		return
	}
	n := 1 + w.rng.IntN(100)
	pre, err := s.cache.Prefill(n)
	if err != nil {
		w.missed(s, i, err)
		return
	}
	defer func() {
		// Of a debug cache it is an AllocBulk, and Return a FreeBulk.
		if s.config.Debug != "" || os.Getenv("SLUBD_DEBUG") != "" {
			w.count[i].taken += int64(pre.Len())
			w.count[i].given += int64(pre.Len())
		}
		pre.Return()
	}()
	promised := n
	for range w.rng.IntN(2 * n) {
		if pre.Len() == 0 && w.rng.IntN(4) == 0 {
			n = 1 + w.rng.IntN(100)
			if err := pre.Refill(n); err != nil {
				w.missed(s, i, err)
			} else {
				promised = n
			}
		}
		p := pre.Alloc()
		if p == nil {
			if promised > 0 || pre.Len() != 0 {
				s.faultf("an empty prefilled sheaf promises %d objects and shows %d", promised, pre.Len())
			}
			return
		}
		promised--
		w.took(s, i, p)
		if w.rng.IntN(2) == 0 {
			w.keep(s, i, p)
			continue
		}
		w.ops--
		s.leave(p)
		if pre.Free(p) {
			promised++
			w.count[i].taken-- // the object is in the sheaf again
		} else {
			s.cache.Free(p)
			w.count[i].given++
		}
	}
}

// local works with the worker's Local of the subject. At times it flushes it, closes it, or loses
// it.
func local(w *worker, s *subject, i int) {
	l := w.locals[i]
	if l == nil {
		capacity := w.rng.IntN(2) * (2 + w.rng.IntN(slub.MaxLocal-1))
		var err error
		if l, err = s.cache.NewLocal(capacity); err != nil {
			s.faultf("NewLocal: %v", err)
			return
		}
		w.locals[i] = l
	}
	free := func(p unsafe.Pointer) {
		w.ops--
		w.count[i].given++
		s.leave(p)
		l.Free(p)
	}
	for range w.rng.IntN(burst) {
		p, err := l.Alloc()
		if err != nil {
			w.missed(s, i, err)
			break
		}
		w.took(s, i, p)
		if len(w.held[i]) < w.most(s) && w.rng.IntN(2) == 0 {
			w.held[i] = append(w.held[i], p)
		} else {
			free(p)
		}
	}
	for _, p := range w.lose(i, w.rng.IntN(burst)) {
		free(p)
	}
	switch w.rng.IntN(16) {
	case 0:
		l.Flush()
	case 1:
		l.Close()
		w.locals[i] = nil
	case 2:
		w.locals[i] = nil
	}
}

// noWait allocates by AllocNoWait until that fails. It gives these objects, and as many others, to
// FreeDeferred.
func noWait(w *worker, s *subject, i int) {
	var ps []unsafe.Pointer
	for range burst / 4 {
		p, err := s.cache.AllocNoWait()
		if err != nil {
			if err != slub.ErrWouldBlock {
				w.missed(s, i, err)
			}
			break
		}
		w.took(s, i, p)
		ps = append(ps, p)
	}
	w.ops -= burst/4 - len(ps) // so that the run ends although AllocNoWait always fails
	for _, p := range append(ps, w.lose(i, len(ps))...) {
		w.ops--
		w.count[i].given++
		s.leave(p)
		s.cache.FreeDeferred(p)
	}
}

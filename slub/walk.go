package slub

import "iter"

// all yields the cache's slabs, listed or not, by looking at the owner of every
// page of the arena. For reports: it takes milliseconds for each GiB of range, and
// what it sees may have changed meanwhile.
func (l *layer) all() iter.Seq[slabRef] {
	return func(yield func(slabRef) bool) {
		for page := uint32(0); page < l.arena.Pages(); page++ {
			head, order, ok := l.arena.Head(page)
			if !ok {
				continue
			}
			if l.owns(head) && !yield(l.slabAt(head)) {
				return
			}
			page = head + 1<<order - 1
		}
	}
}

// inUse yields the addresses of a slab's objects that are not in its chain. The
// caller makes sure that nobody changes the chain meanwhile.
func (l *layer) inUse(s slabRef) iter.Seq[uintptr] {
	return func(yield func(uintptr) bool) {
		free := make(map[uintptr]bool)
		for obj, ok := s.first(s.load()), true; obj != 0 && ok && !free[obj]; {
			free[obj] = true
			obj, ok = l.next(obj, s)
		}
		for i := range s.objects {
			if obj := l.object(s, i); !free[obj] && !yield(obj) {
				return
			}
		}
	}
}

package slub

import (
	"iter"

	"github.com/slubd/slubd/arena"
)

// runsOf yields the head pages of an arena's runs whose owner has the given number, by
// looking at every page. For reports: it takes milliseconds for each GiB of range, and what
// it sees may have changed meanwhile.
func runsOf(a *arena.Arena, id uint32) iter.Seq[uint32] {
	return func(yield func(head uint32) bool) {
		for page := uint32(0); page < a.Pages(); page++ {
			head, order, ok := a.Head(page)
			if !ok {
				continue
			}
			if owner(a.Owner(head)).id() == id && !yield(head) {
				return
			}
			page = head + 1<<order - 1
		}
	}
}

// all yields the cache's slabs, listed or not. See runsOf for when.
func (l *layer) all() iter.Seq[slabRef] {
	return func(yield func(slabRef) bool) {
		for head := range runsOf(l.arena, l.id) {
			if !yield(l.slabAt(head)) {
				return
			}
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

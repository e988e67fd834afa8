package slub

import (
	"fmt"

	"github.com/slubd/slubd/internal/text"
)

// validate says what is wrong with a slab.
//
// It holds the node's lock, under which a listed slab can't be taken off the list, so
// that its chain can only grow at the start: what hangs below the start that was read
// stays as it is. Slabs that aren't listed have no chain, or are some refill's. A slab
// that was given back since it was found isn't listed, or isn't ours.
func (l *layer) validate(s slabRef) (wrong string) {
	n := &l.nodes[s.node]
	n.mu.Lock()
	defer n.mu.Unlock()
	if !l.owns(s.page) || !s.listed {
		return ""
	}
	st := s.load()
	free := s.objects - st.inuse
	seen := make(map[uintptr]bool, free)
	obj, ok := s.first(st), true
	for obj != 0 && !seen[obj] {
		if (obj-s.addr)%l.size != 0 || obj-s.addr >= uintptr(s.objects)*l.size {
			return fmt.Sprintf("free object %d of %d lies at +%#x, where no object starts", len(seen)+1, free, obj-s.addr)
		}
		seen[obj] = true
		from := obj
		if obj, ok = l.next(obj, s); !ok {
			return fmt.Sprintf("the free object at +%#x leads out of the slab", from-s.addr)
		}
	}
	switch {
	case obj != 0:
		return fmt.Sprintf("the chain of free objects comes back to +%#x", obj-s.addr)
	case uint32(len(seen)) != free:
		return fmt.Sprintf("the chain has %s, the count says %d", text.Count(len(seen), "free object", "free objects"), free)
	}
	return ""
}

package slub

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/text"
)

// Validate looks at every slab of the cache: that its chain of free objects stays in the
// slab, visits no object twice, and is as long as its count says. It returns what it
// found, joined, each a *hooks.Report, which Hooks.Report gets too, if there is one; nil if
// all is well. Any goroutine, at any time: allocations and frees go on meanwhile, though a
// node's refills wait while one of its slabs is looked at. It takes some nanoseconds an
// object, and milliseconds for each GiB of the arena's range. (Kernel: validate_slab_cache.)
func (c *Cache) Validate() error {
	var errs []error
	for s := range c.slabs.all() {
		if wrong := c.slabs.validate(s); wrong != "" {
			r := hooks.NewReport(hooks.FreelistCorrupt, c.name, 0, "%s", wrong)
			r.Slab = s.addr
			if c.config.Hooks.Report != nil {
				r.Fire(&c.config.Hooks)
			}
			errs = append(errs, r)
		}
	}
	return errors.Join(errs...)
}

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

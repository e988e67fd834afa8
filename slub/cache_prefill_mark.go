package slub

import (
	"unsafe"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub/internal/slab"
)

// What a Prefilled does for objects with marks (see cache_mark.go).

// prepare prepares objects with marks, and returns how many are left: one that is in use already is
// reported, and counts as one that was taken. Builds that check everything prepare objects when
// Alloc takes them, unless a hook sees them now, since a Free of one that was not taken is a second
// one; others have no code for that in Alloc, which would be slower for all caches. If a report
// doesn't return, the loan ends. The object that it is about has gone back, or has another owner.
func (p *Prefilled) prepare(objs []unsafe.Pointer) (left int) {
	c := p.cache
	if checked && !p.shown {
		return len(objs)
	}
	at := 0
	drop := func() {
		last := len(objs) - 1
		objs[at] = objs[last]
		objs = objs[:last]
	}
	callback.Guard(func() {
		for at < len(objs) {
			switch {
			case checked:
				c.prepareMemory(objs[at], 0)
			case !c.prepare(objs[at], 0):
				drop()
				continue
			}
			at++
		}
	}, func() {
		drop()
		for _, obj := range objs {
			p.scrub(obj)
		}
		p.end(p.lent-uint(len(objs)), objs, nil)
	})
	return len(objs)
}

// scrub ends the use of an object that nothing has taken. In builds that check everything it has
// not begun, unless a hook has seen it.
func (p *Prefilled) scrub(obj unsafe.Pointer) {
	if !checked || p.shown {
		p.cache.scrub(obj)
	}
}

// allocMarked is Alloc in builds that check everything.
func (p *Prefilled) allocMarked() unsafe.Pointer {
	for c := p.cache; p.n > 0 && c.marks != nil; {
		p.n--
		switch obj, ok := c.look(p.loan.Slots()[p.n]); {
		case !ok || !c.markInUse(obj):
		case p.shown:
			return obj // adopt has prepared it, and its hook may have written to it
		default:
			c.prepareMemory(obj, 0)
			return obj
		}
	}
	return nil
}

// freeMarked is Free in builds that check everything. It claims the object, and puts it back unless
// a hook has to see it.
func (p *Prefilled) freeMarked(obj unsafe.Pointer) bool {
	c := p.cache
	if c.marks == nil || p.shown || p.loan == (sheaves.Loan{}) {
		return false
	}
	switch room := p.loan.Slots(); {
	case p.n >= uint(len(room)) || c.marks.push.Owner(obj) != p.owner:
		return false
	case c.claim(obj, p.owner, slab.Free): // otherwise it has reported the object, which is free
		c.scrub(obj)
		room[p.n] = obj
		p.n++
	}
	return true
}

// keepObjects drops from what the sheaf has what is no object of the cache: it counts as taken. If
// a report doesn't return, lost gets the objects.
func (p *Prefilled) keepObjects(lost func(objs []unsafe.Pointer)) {
	if !p.cache.checksSheaves() {
		return
	}
	objs := p.loan.Slots()[:p.n]
	n, wrong := p.cache.objects(objs)
	p.n = uint(n)
	p.cache.reportAll(wrong, func() { lost(objs[:n]) })
}

package slub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/slab"
)

// inspectAll looks at all objects of a debug cache that Slabs.Visit finds, repairs what was
// overwritten, and returns a report about each part. Allocations and frees may go on meanwhile.
func (c *Cache) inspectAll() (found []*hooks.Report) {
	d := c.debug()
	if d == nil || d.layout.Flags&(debug.RedZone|debug.Poison) == 0 {
		return nil
	}
	c.slabs.Visit(func(s slab.Ref) {
		d.mu.Lock()
		defer d.mu.Unlock()
		made := false // initDebug has returned: it has no mark yet otherwise
		for i := range uint32(s.Objects()) {
			obj := c.slabs.Object(s, i)
			mark := c.slabs.Marks().Load(obj)
			made = made || mark != slab.Free
			switch mark {
			case slab.Poisoned:
				found = append(found, c.inspect(obj, false)...)
			case slab.InUse, slab.GivenRCU, slab.GivenDeferred:
				found = append(found, c.inspect(obj, true)...)
			}
		}
		if !made {
			return
		}
		addr, n := c.slabs.Addr(s), uintptr(s.Objects())
		if o, ok := d.layout.CheckTail(addr, s.Bytes(), n); !ok {
			last := c.slabs.Object(s, uint32(n-1))
			from, to := d.layout.Tail(addr, s.Bytes(), n)
			found = append(found, c.repair(o, 0, addr, d.layout.Window(last, o.First, from, to)))
		}
	})
	return found
}

// mendChains repairs the chains of a debug cache's slabs, and returns the reports about them.
func (c *Cache) mendChains() (found []*hooks.Report) {
	if c.debug() == nil {
		return nil
	}
	for m := range c.slabs.Mend {
		r := hooks.NewReport(hooks.FreelistCorrupt, c.name, m.Object, "%s", m.Detail)
		r.Slab, r.Repaired = m.Slab, m.Fix != ""
		c.debug().cut.Store(true)
		describe(&c.debug().layout, r, debug.Bug{Problem: "Freechain corrupt", Detail: m.Detail, Fix: m.Fix})
		found = append(found, r)
	}
	return found
}

// validateDebug is Validate of a debug cache.
func (c *Cache) validateDebug() error {
	return c.fireAll(append(c.mendChains(), c.inspectAll()...))
}

// closeDebug is validateDebug in Close, nil in other caches. No operation comes after it that would
// make the reports which earlier ones have left, so it makes these, too.
func (c *Cache) closeDebug() error {
	d := c.debug()
	if d == nil {
		return nil
	}
	found := append(c.mendChains(), c.inspectAll()...)
	return c.fireAll(append(d.takeFound(), found...))
}

// fireAll makes the reports of Validate and Close, where there is a hook or an action for them, and
// returns them as an error. If one doesn't return, the next operation makes those behind it.
func (c *Cache) fireAll(found []*hooks.Report) error {
	return c.debug().fireAll(found, c.reports(), c.fire)
}

// fireAll is Cache.fireAll. hooked says that there is a hook, and fire makes a report.
func (d *debugging) fireAll(found []*hooks.Report, hooked bool, fire func(*hooks.Report)) error {
	var errs []error
	for i, r := range found {
		if hooked || d.action != 0 {
			callback.Guard(func() { fire(r) }, func() { d.keep(found[i+1:]) })
		}
		errs = append(errs, r)
	}
	return errors.Join(errs...)
}

// A debugLeaks says which calls have allocated the leaked objects of a debug cache, and when the
// first of them did.
type debugLeaks struct {
	sites []string
	of    map[string]*debugLeak

	cutOff int // objects that are free, and in no chain
}

// A debugLeak is the leaked objects that one site has allocated.
type debugLeak struct {
	objects int
	oldest  debug.Track
}

// lost counts an object that is not in its slab's chain if it is free, and may have been cut off.
// Then it returns true. Without a cut the object is one that another goroutine frees.
func (l *debugLeaks) lost(c *Cache, obj uintptr) bool {
	d := c.debug()
	if d == nil || !d.cut.Load() || c.slabs.Marks().Load(obj) != slab.Poisoned {
		return false
	}
	l.cutOff++
	return true
}

// lostText returns a text about the objects that were cut off. more is put before "object".
func (l *debugLeaks) lostText(more string) string {
	noun, verb := "objects", "were"
	if l.cutOff == 1 {
		noun, verb = "object", "was"
	}
	return fmt.Sprintf("%d %s%s %s lost when a chain was cut", l.cutOff, more, noun, verb)
}

// add counts an object, which is in use.
func (l *debugLeaks) add(c *Cache, obj uintptr) {
	if !c.debug().has(debug.Users) {
		return
	}
	allocated, _ := c.debug().layout.Tracks(obj)
	l.addCall(allocated)
}

// addCall counts an object that this call has allocated.
func (l *debugLeaks) addCall(allocated debug.Track) {
	site := "a call that was not kept"
	if stack := calls.Numbered(allocated.Stack); len(stack) > 0 {
		site = callSite(stack)
	}
	if l.of == nil {
		l.of = map[string]*debugLeak{}
	}
	leak := l.of[site]
	if leak == nil {
		leak = &debugLeak{oldest: allocated}
		l.of[site], l.sites = leak, append(l.sites, site)
	}
	leak.objects++
	if allocated.When < leak.oldest.When {
		leak.oldest = allocated
	}
}

// lostToo returns a text about the objects that were cut off, empty if none was.
func (l *debugLeaks) lostToo() string {
	if l.cutOff == 0 {
		return ""
	}
	return "; " + l.lostText("more ")
}

// String lists up to maxListed calls, those with the most objects first.
func (l *debugLeaks) String() string {
	slices.SortStableFunc(l.sites, func(a, b string) int { return l.of[b].objects - l.of[a].objects })
	var b strings.Builder
	for i, site := range l.sites {
		switch i {
		case 0:
			b.WriteString("; ")
		case maxListed:
			b.WriteString(", ...")
			return b.String() + l.lostToo()
		default:
			b.WriteString(", ")
		}
		leak := l.of[site]
		fmt.Fprintf(&b, "%d allocated by %s", leak.objects, site)
		if leak.oldest.When != 0 {
			fmt.Fprintf(&b, ", the oldest %v ago", leak.oldest.Age().Round(time.Millisecond))
		}
	}
	return b.String() + l.lostToo()
}

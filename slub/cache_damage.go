package slub

import (
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/text"
	"github.com/slubd/slubd/slub/internal/slab"
)

// damage is what the slabs of a cache have found, for Close.
type damage struct {
	first atomic.Pointer[hooks.Report] // the first about a slab that is isolated; nil: none
	stale atomic.Pointer[hooks.Report] // the first of Close about a free object; nil: none
}

// err returns what Close has found in free objects, nil for nothing.
func (d *damage) err() error {
	if r := d.stale.Load(); r != nil {
		return r
	}
	return nil
}

// reportDamage reports a slab that is isolated, an object without one, a guarded object, or one
// that was written to when it was free. A Close that finds the last kind returns the report as its
// error, and does not panic.
func (c *Cache) reportDamage(d slab.Damage) {
	r := c.noteDamage(d)
	if d.Stale && c.groupClosed.Load() {
		c.damage.stale.CompareAndSwap(nil, r)
		if !c.reports() {
			return
		}
	}
	c.fire(r)
}

// noteDamage returns the report about d, and keeps the first for Close.
func (c *Cache) noteDamage(d slab.Damage) *hooks.Report {
	kind := hooks.FreelistCorrupt
	switch {
	case d.Beside:
		kind = hooks.MemoryCorrupt
	case d.Stale:
		kind = hooks.WriteAfterFree
	case d.Twice:
		kind = hooks.DoubleFree
		c.count(kept, 1) // it was counted as freed twice
	}
	r := hooks.NewReport(kind, c.primary().name, d.Object, "%s", d.Detail)
	r.Slab, r.History = d.Slab, d.History
	if !d.Gone && !d.Beside && !d.Stale {
		c.damage.first.CompareAndSwap(nil, r)
	}
	return r
}

// damaged returns an error about the slabs that are isolated, which wraps the report about the
// first; nil if there are none. It looks for damage that no operation has met yet, and passes it
// to the Report hook, if there is one.
func (c *Cache) damaged() error {
	for _, d := range c.slabs.IsolateDamaged() {
		if r := c.noteDamage(d); c.reports() {
			c.fire(r)
		}
	}
	r := c.damage.first.Load()
	if r == nil {
		return nil
	}
	return fmt.Errorf("%s isolated, the first since %w", text.Count(c.slabs.Isolated(), "slab is", "slabs are"), r)
}

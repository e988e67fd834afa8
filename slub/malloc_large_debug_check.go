package slub

import (
	"errors"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub/internal/debug"
)

// inspectAll looks at all objects that there are.
func (d *debugLarge) inspectAll() (found []*hooks.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.objs {
		found = append(found, d.inspect(u)...)
	}
	return found
}

// describeFreed adds to a report of a second free what was kept of the object at addr. The registry
// alone knows how large that is: what largeAt has found may have gone back meanwhile, and a smaller
// object may have the address.
func (d *debugLarge) describeFreed(addr uintptr, r *hooks.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u, ok := d.objs[addr]; ok {
		layout := d.layoutOf(u.l)
		r.Slab = addr - layout.Left
		describe(&layout, r, debug.Bug{Problem: r.Kind.String(), Detail: r.Detail})
	}
}

// reportLargeFound is Cache.reportFound for large objects.
func (b *Buckets) reportLargeFound() {
	d := b.large.debug
	if d == nil {
		return
	}
	for d.pending.Load() {
		if r := d.nextFound(); r != nil {
			b.fire(r)
		}
	}
}

// validateLarge is validateDebug for large objects, and closeLarge is closeDebug.
func (b *Buckets) validateLarge() error {
	d := b.large.debug
	if d == nil {
		return nil
	}
	return d.fireAll(d.inspectAll(), b.Hooks().Report != nil, b.fire)
}

func (b *Buckets) closeLarge() error {
	d := b.large.debug
	if d == nil {
		return nil
	}
	b.emptyLarge(true)
	found := d.inspectAll()
	return d.fireAll(append(d.takeFound(), found...), b.Hooks().Report != nil, b.fire)
}

// Validate is Cache.Validate of the caches of all sizes. Of debug Buckets it also looks at the
// objects above 32 KiB. Any goroutine, at any time. It takes what Cache.Validate takes, for each
// cache.
func (b *Buckets) Validate() error {
	var errs []error
	for c := range b.all() {
		errs = append(errs, c.Validate())
	}
	return errors.Join(append(errs, b.validateLarge())...)
}

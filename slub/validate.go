package slub

import (
	"errors"

	"github.com/slubd/slubd/hooks"
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

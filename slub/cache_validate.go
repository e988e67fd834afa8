package slub

import (
	"errors"

	"github.com/slubd/slubd/hooks"
)

// Validate checks the chain of free objects of every slab of the cache: it stays in the slab,
// visits no object twice, and is as long as the slab's count says. It also checks that what is
// recorded of the slab fits the owner word of its pages, and their number. Validate returns a
// joined error of *hooks.Report for what is wrong, and passes each to Hooks.Report if there is
// one; nil if all is well. In a debug cache it also looks at red zones, poison and padding, and
// repairs what is wrong; see Config.Debug.
//
// Any goroutine, at any time: allocations and frees go on, except that refills of a node wait
// while one of its slabs is checked. It takes some nanoseconds for each object and milliseconds
// for each GiB that was ever used of the arena. (Kernel: validate_slab_cache.)
func (c *Cache) Validate() error {
	if c.debug() != nil {
		return c.validateDebug()
	}
	var errs []error
	for slab, problem := range c.slabs.Validate() {
		r := hooks.NewReport(hooks.FreelistCorrupt, c.name, 0, "%s", problem)
		r.Slab = slab
		if c.reports() {
			c.fire(r)
		}
		errs = append(errs, r)
	}
	return errors.Join(errs...)
}

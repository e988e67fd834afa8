package slub

import (
	"fmt"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/sheaves"
)

// SetSheafCapacity changes how many objects a sheaf of the cache holds, under load:
// 1 to 32767, or 0 for what New chose. Unlike in Config, less than the automatic
// capacity is taken at its word: whoever lowers it while the cache runs, for memory or
// for a rare cache on many CPUs, has seen its numbers.
//
// The free objects in CPUs' sheaves and barns go to their slabs, so that it costs about
// what Shrink does. Objects that wait for a grace period and prefilled sheaves keep
// their old arrays until that ends; a Prefilled's promise holds.
//
// Any goroutine may call it, but not a hook or RCUDtor. Errors, with nothing changed:
// ErrConfig for a value out of range or a cache with NoSheaves; ErrNoMemory; ErrClosed.
func (c *Cache) SetSheafCapacity(n int) error {
	if n < 0 || n > percpu.MaxCap {
		return c.badArgument("SetSheafCapacity", "%d is not within 0..%d objects", n, percpu.MaxCap)
	}
	if c.sheaves == nil {
		return c.badArgument("SetSheafCapacity", "the cache has NoSheaves")
	}
	if n == 0 {
		n = sheaves.Capacity(c.layout.slot, c.config.SheafCapacity)
	}
	if c.closed.Load() {
		return ErrClosed
	}
	if err := c.sheaves.SetCapacity(n, c.maxWaiting(n)); err != nil {
		if c.closed.Load() {
			return ErrClosed
		}
		return fmt.Errorf("slub: cache %q: %w: %w", c.name, ErrNoMemory, err)
	}
	return nil
}

// SetBarnLimits changes how many full and empty sheaves the barn of each node keeps,
// under load; 0 keeps none. What is beyond goes back at once. The limits are as soft as
// the kernel's: a sheaf that has nowhere else to go is taken in all the same.
//
// Any goroutine may call it, but not a hook or RCUDtor. Errors: ErrConfig for negative
// numbers, those beyond 32 bits or a cache with NoSheaves; ErrClosed.
func (c *Cache) SetBarnLimits(full, empty int) error {
	p := problems{of: fmt.Sprintf("cache %q", c.name), config: "SetBarnLimits"}
	checkBarn(p.bad, "full", "empty", full, empty)
	if len(p.errs) > 0 {
		return p.joined()
	}
	if c.sheaves == nil {
		return c.badArgument("SetBarnLimits", "the cache has NoSheaves")
	}
	if c.closed.Load() {
		return ErrClosed
	}
	return c.sheaves.SetLimits(full, empty)
}

// SetMinPartial changes Config.MinPartial, for slabs that become empty from now on; 0
// for the automatic number. Any goroutine. A closed cache keeps none. Errors: ErrConfig for a negative number;
// ErrClosed. (Kernel: writing min_partial in sysfs.)
func (c *Cache) SetMinPartial(slabs int) error {
	if slabs < 0 {
		return c.badArgument("SetMinPartial", "%d is negative", slabs)
	}
	if c.closed.Load() {
		return ErrClosed
	}
	c.slabs.keep.Store(int64(c.slabs.minPartial(slabs)))
	if c.ended.Load() { // looked at after keep is stored, as Close stores them the other way
		c.slabs.keep.Store(0)
		return ErrClosed
	}
	return nil
}

// waitingBytes is how much a barn lets wait for a grace period to be allocated again:
// as many bytes as a burst may leave behind until the next timer.
const waitingBytes = 16 << 20

// maxWaiting is waitingBytes in sheaves of a capacity, at least 16.
func (c *Cache) maxWaiting(capacity int) int {
	return max(16, waitingBytes/int(c.layout.slot)/capacity)
}

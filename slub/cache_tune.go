package slub

import (
	"fmt"
	"math"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/sheaves"
)

// SetSheafCapacity changes how many objects a sheaf of the cache holds, while the cache is in
// use: 1 to 32767, or 0 for the number that New chose. Unlike Config.SheafCapacity, a number
// below the kernel's is not raised: a caller that lowers the capacity of a running cache has
// measured it.
//
// The free objects in CPUs' sheaves and barns go to their slabs, which costs about as much as
// Shrink. Objects that wait for a grace period and prefilled sheaves keep their old arrays until
// they are reclaimed or returned; a Prefilled keeps what it promised.
//
// Any goroutine may call it. In a cache that only SLUBD_DEBUG makes a debug cache it does nothing.
// Errors, with nothing changed: ErrConfig for a number out of range or a cache without sheaves, by
// NoSheaves or Config.Debug; rcu.ErrInCallback in a callback, for which it might wait; ErrNoMemory;
// ErrClosed.
func (c *Cache) SetSheafCapacity(n int) error {
	if n < 0 || n > percpu.MaxCap {
		return c.argumentError("SetSheafCapacity", "%d is not within 0..%d objects", n, percpu.MaxCap)
	}
	if c.sheaves == nil {
		return c.tuneNoSheaves("SetSheafCapacity")
	}
	if n == 0 {
		n = sheaves.Capacity(c.layout.slot, c.config.SheafCapacity)
	}
	if callback.Inside() {
		return c.inCallback()
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

// SetBarnLimits changes Config.BarnFull and BarnEmpty while the cache is in use: how many full
// and how many empty sheaves the barn of each node keeps. 0 is automatic, None keeps none.
// Sheaves beyond the limits go back before it returns. As in the kernel the limits are soft: a
// barn takes a sheaf beyond its limit if the sheaf can't go anywhere else.
//
// Any goroutine may call it. In a cache that only SLUBD_DEBUG makes a debug cache it does nothing.
// Errors: ErrConfig for numbers out of range or a cache without sheaves, by NoSheaves or
// Config.Debug; rcu.ErrInCallback in a callback, for which it might wait; ErrClosed.
func (c *Cache) SetBarnLimits(full, empty int) error {
	p := configErrors("cache", c.name, "SetBarnLimits")
	checkBarn(&p, "full", "empty", full, empty)
	if err := p.Err(); err != nil {
		return err
	}
	if c.sheaves == nil {
		return c.tuneNoSheaves("SetBarnLimits")
	}
	if callback.Inside() {
		return c.inCallback()
	}
	if c.closed.Load() {
		return ErrClosed
	}
	return c.sheaves.SetLimits(barnLimit(full), barnLimit(empty))
}

// tuneNoSheaves is what a function that tunes sheaves does in a cache without them: nothing, if
// only the environment has made it a debug cache. A program that is right without SLUBD_DEBUG gets
// no error by it.
func (c *Cache) tuneNoSheaves(function string) error {
	switch {
	case c.debug() == nil || !c.debug().implied:
		return c.argumentError(function, "the cache has %s", c.whyNoSheaves())
	case callback.Inside():
		return c.inCallback()
	case c.closed.Load():
		return ErrClosed
	}
	return nil
}

// barnLimit translates a limit for package sheaves, which has no Unlimited.
func barnLimit(n int) int { return min(n, math.MaxInt32) }

// SetMinPartial changes Config.MinPartial while the cache is in use, for slabs that become empty
// from now on. 0 is automatic, None keeps no empty slab. A closed cache keeps none. Any
// goroutine; it costs one store. Errors: ErrConfig for a number out of range; ErrClosed. (Kernel:
// a write to the sysfs file min_partial.)
func (c *Cache) SetMinPartial(slabs int) error {
	if slabs < None {
		return c.argumentError("SetMinPartial", "%d is negative; None keeps none", slabs)
	}
	if c.closed.Load() {
		return ErrClosed
	}
	if !c.groupClosed.whileOpen(func() { c.slabs.SetMinPartial(slabs) }) {
		c.slabs.SetMinPartial(None) // Close does so, too, but perhaps before the call above
		return ErrClosed
	}
	return nil
}

// SetRemoteDefragRatio changes Config.RemoteDefragRatio while the cache is in use, for refills from
// now on. 0 is automatic, None never looks at other nodes first. Any goroutine; it costs one store.
// Errors: ErrConfig for a number out of range; ErrClosed. (Kernel: a write to the sysfs file
// remote_node_defrag_ratio.)
func (c *Cache) SetRemoteDefragRatio(percent int) error {
	if percent < None || percent > 100 {
		return c.argumentError("SetRemoteDefragRatio", "%d is not within 0..100; None never looks", percent)
	}
	if c.closed.Load() {
		return ErrClosed
	}
	c.slabs.SetRemoteDefragRatio(percent)
	return nil
}

// waitingBytes bounds the bytes that a barn keeps for reuse while they wait for a grace period:
// what a burst may leave behind until the next tick of the timer.
const waitingBytes = 16 << 20

// maxWaiting returns waitingBytes as a number of sheaves of a capacity, at least 16.
func (c *Cache) maxWaiting(capacity int) int {
	return max(16, waitingBytes/int(c.layout.slot)/capacity)
}

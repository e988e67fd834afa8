package slub

import (
	"errors"
	"fmt"

	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/failslab"
)

// errInjected is wrapped, together with ErrNoMemory, by errors that slubtest.FailAlloc has asked
// for.
var errInjected = errors.New("a failure that slubtest.FailAlloc has injected")

// injected reports whether an allocation is to fail. Only caches and Buckets that sample every
// object ask: others would ask only for allocations that happen to take a slow path.
func (s *sampler) injected(cache string, bytes int64) bool {
	return s != nil && s.every && failslab.Injected(cache, bytes)
}

// failInjected reports whether an allocation of the cache is to fail. Those of a debug cache all
// take the slow path, and ask if its flags say so.
func (c *Cache) failInjected(bytes int64) bool {
	if c.debug().has(debug.Failslab) {
		return failslab.Injected(c.name, bytes)
	}
	return c.sampler.injected(c.name, bytes)
}

// injected returns the error of an allocation of n objects that a test wants to fail, or nil.
// (Kernel: should_failslab.)
func (c *Cache) injected(n int) error {
	if !c.failInjected(int64(n) * c.config.Size) {
		return nil
	}
	return fmt.Errorf("slub: cache %q: %w: %w", c.name, c.failed(ErrNoMemory), errInjected)
}

// delay is called on a slow path of the cache, which a test may want to take longer. NoWait
// operations have none of these paths.
func (c *Cache) delay(path failslab.Path) { failslab.Delay(path, c.name) }

// delay is called where a page run or a mapping is allocated or freed.
func (b *Buckets) delay() {
	if failslab.Delaying() {
		failslab.Delay(failslab.Large, b.config.name()+"-large")
	}
}

package slub

import (
	"errors"
	"fmt"

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

// injected returns the error of an allocation of n objects that a test wants to fail, or nil.
// (Kernel: should_failslab.)
func (c *Cache) injected(n int) error {
	if !c.sampler.injected(c.name, int64(n)*c.config.Size) {
		return nil
	}
	return fmt.Errorf("slub: cache %q: %w: %w", c.name, c.failed(ErrNoMemory), errInjected)
}

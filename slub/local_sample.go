package slub

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/slubd/slubd/sheaves"
)

// A Local counts its allocations in the head anyway, so that the allocation profile costs its fast
// path no store: the count begins where a bit of it changes in time, and the allocation that finds
// the bit changed is sampled. The sample is an object of a slab of its own (see samples), and
// what the Local holds stays as it is. Each allocation that the Local serves has the same chance,
// whether its object has come from a sheaf or from Local.Free.

// arm lets the next n-1 allocations pass, or localMost if that is less; the one after them is due.
func (s *localState) arm(n uint64) {
	fast := min(n-1, localMost)
	s.left = n - 1 - fast
	s.mu.Lock()
	defer s.mu.Unlock()
	head := 2*localOpen - fast*localOne | s.head&localMask
	s.base += s.head>>localBits - head>>localBits
	atomic.StoreUint64(&s.head, head)
}

// draw arms the Local for a random allocation, or for none if its cache takes no samples.
func (s *localState) draw() {
	sampler := s.cache.sampler
	if sampler == nil {
		s.arm(math.MaxUint64)
		return
	}
	s.mean = sampler.mean(s.cache.layout.slot)
	s.arm(uint64(min(max(math.Ceil(s.mean*rand.ExpFloat64()), 1), math.MaxInt64)))
}

// renew draws again if the mean may have become smaller; see sheaves.Set.renew.
func (s *localState) renew() {
	if epoch := pace.epoch.Load(); epoch != s.epoch && s.cache.sampler != nil {
		s.epoch = epoch
		s.draw()
	}
}

// allocDue returns an object if the Local is due, or nil if it is not, or has none: a sample, or if
// it is not the turn of one, or there is no room for one, an object of its own.
func (s *localState) allocDue() unsafe.Pointer {
	if s.head&localOpen != 0 {
		if s.renew(); s.head&localOpen != 0 {
			return nil
		}
	}
	if c := s.cache; s.left > 0 {
		s.arm(s.left + 1)
	} else {
		mean := s.mean
		s.draw()
		if p := c.allocOneSampled(c.localNodeNow(), sheaves.SampleWeight(mean)); p != nil {
			return p
		}
	}
	if s.len() == 0 {
		return nil
	}
	return s.take()
}

//go:build asan && !race

package slab

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/sys"
)

// fenceable says that pages can be without access, which Go's heap can't. recordsFrees says that
// tables keep the call stacks of frees.
const (
	fenceable    = true
	recordsFrees = true
)

// All of a new slab is poisoned once its objects are constructed: the sanitizer reports every
// access to it. The cache lets the bytes of an object be used from Alloc to Free. The arena has
// poisoned the pages of a slab when it is given them back.

func (s *Slabs) releaseSlab(r Ref) { sys.Poison(s.Addr(r), r.Bytes()) }
func (s *Slabs) acquireSlab(Ref)   {}

// loadLink and storeLink load and store a free pointer, which lies in a poisoned object. The
// sanitizer does not look at atomic operations.
func loadLink(at *uint64) uint64     { return atomic.LoadUint64(at) }
func storeLink(at *uint64, v uint64) { atomic.StoreUint64(at, v) }

package rcu

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// A Pointer is where an off-heap object is published for readers, who find it there
// without a lock: an object of a slub.Cache or slub.Typed, or any other memory that the
// collector doesn't manage. The zero Pointer is nil. Any goroutine; all methods are
// sequentially consistent, as those of sync/atomic are.
//
// It holds the object's address as a number. So it may itself lie off-heap, in an object,
// which a Go pointer may not; and it keeps nothing alive: a Go variable stored here is
// collected under the readers' eyes. For those there is atomic.Pointer.
//
//	reader:   s := domain.Enter(); defer s.Exit(); use(p.Load())
//	updater:  old := p.Swap(fresh); cache.FreeRCU(old)
//
// What Load returns is valid until the reader's section ends, or until it reports. The
// object is written before it is stored, and not after; who replaces one part of it replaces
// the object. What is swapped out is freed after a grace period, as by FreeRCU or Defer.
type Pointer[T any] struct{ addr atomic.Uintptr }

// Load returns the published object, or nil. What its publisher wrote before is visible.
func (p *Pointer[T]) Load() *T { return mem.At[T](p.addr.Load()) }

// Store publishes obj in place of what is there, which the caller knows, or else leaks.
func (p *Pointer[T]) Store(obj *T) { p.addr.Store(mem.Addr(obj)) }

// Swap publishes obj and returns what was there, which readers may still hold.
func (p *Pointer[T]) Swap(obj *T) (old *T) { return mem.At[T](p.addr.Swap(mem.Addr(obj))) }

// CompareAndSwap publishes obj if old is there still, and reports whether it was. old may
// be an address that was freed and given out again, unless the caller is a reader who has
// loaded it in this section.
func (p *Pointer[T]) CompareAndSwap(old, obj *T) bool {
	return p.addr.CompareAndSwap(mem.Addr(old), mem.Addr(obj))
}

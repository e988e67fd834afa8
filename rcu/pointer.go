package rcu

import (
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// A Pointer publishes an off-heap object to readers, which load it without a lock: an object of a
// slub.Cache or slub.Typed, or other memory that the garbage collector doesn't manage. The zero
// Pointer is nil. Any goroutine may call its methods. They are sequentially consistent, as those of
// sync/atomic are.
//
// It holds the object's address as a number. So a Pointer may itself lie off-heap, in an object,
// where a Go pointer may not. And it keeps nothing alive: a Go variable stored in it may be
// collected while readers use it. Use atomic.Pointer for Go variables.
//
//	reader:   s := domain.Enter(); defer s.Exit(); use(p.Load())
//	updater:  old := p.Swap(fresh); cache.FreeRCU(old)
//
// What Load returns is valid until the reader's section ends, or until the reader reports. Write
// the object before you store it, and not after: to change a part of it, replace the whole object.
// Free what was swapped out after a grace period, as by FreeRCU or Defer.
type Pointer[T any] struct{ addr atomic.Uintptr }

// Load returns the published object, or nil (kernel: rcu_dereference). What its publisher wrote
// before is visible.
func (p *Pointer[T]) Load() *T { return mem.At[T](p.addr.Load()) }

// Store publishes obj (kernel: rcu_assign_pointer). It does not return the object that was there:
// if the caller has no other reference to that one, it leaks. See Swap.
func (p *Pointer[T]) Store(obj *T) { p.addr.Store(mem.Addr(obj)) }

// Swap publishes obj and returns what was there, which readers may still hold (kernel:
// rcu_replace_pointer).
func (p *Pointer[T]) Swap(obj *T) (old *T) { return mem.At[T](p.addr.Swap(mem.Addr(obj))) }

// CompareAndSwap publishes obj if old is still there, and reports whether it was. The address may
// have been freed and allocated again since the caller loaded it, unless the caller is a reader
// that loaded it in its current section.
func (p *Pointer[T]) CompareAndSwap(old, obj *T) bool {
	return p.addr.CompareAndSwap(mem.Addr(old), mem.Addr(obj))
}

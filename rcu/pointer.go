package rcu

import (
	"fmt"
	"sync/atomic"

	"github.com/slubd/slubd/internal/invariants"
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
// before is visible. The caller is a reader: its goroutine has entered a section, or has a Reader
// that is online, of any domain. Builds with -tags invariants or -race panic otherwise, and name
// the call. A section of another goroutine does not count.
func (p *Pointer[T]) Load() *T {
	if invariants.Enabled {
		assertReading("Load of an rcu.Pointer")
	}
	return mem.At[T](p.addr.Load())
}

// LoadProtected is Load without the check (kernel: rcu_dereference_protected). It is for an updater
// that holds the lock of all updaters, for a structure that no other goroutine can reach, and for a
// reader that has called AssertReading.
func (p *Pointer[T]) LoadProtected() *T { return mem.At[T](p.addr.Load()) }

// Store publishes obj (kernel: rcu_assign_pointer). It does not return the object that was there:
// if the caller has no other reference to that one, it leaks. See Swap. Builds with -tags
// invariants or -race panic, in Store as in Swap and CompareAndSwap, if package slub is linked and
// finds that obj was freed or given to FreeRCU, is other memory of an arena, or is memory of Go.
func (p *Pointer[T]) Store(obj *T) {
	if invariants.Enabled {
		assertPublishable("Store", mem.Addr(obj))
	}
	p.addr.Store(mem.Addr(obj))
}

// Swap publishes obj and returns what was there, which readers may still hold (kernel:
// rcu_replace_pointer).
func (p *Pointer[T]) Swap(obj *T) (old *T) {
	if invariants.Enabled {
		assertPublishable("Swap", mem.Addr(obj))
	}
	return mem.At[T](p.addr.Swap(mem.Addr(obj)))
}

// CompareAndSwap publishes obj if old is still there, and reports whether it was. The address may
// have been freed and allocated again since the caller loaded it, unless the caller is a reader
// that loaded it in its current section.
func (p *Pointer[T]) CompareAndSwap(old, obj *T) bool {
	if invariants.Enabled {
		assertPublishable("CompareAndSwap", mem.Addr(obj))
	}
	return p.addr.CompareAndSwap(mem.Addr(old), mem.Addr(obj))
}

// AssertReading panics, in builds with -tags invariants or -race, unless the calling goroutine is a
// reader of the domain: in a section that it has entered itself, or with a Reader that is online.
// It is for structures that are read without a lock. In other builds it does nothing. Any
// goroutine. (Kernel: RCU_LOCKDEP_WARN with srcu_read_lock_held.)
func (d *Domain) AssertReading() { d.assertReading() }

// assertPublishable panics if package slub knows that an address is no object in use.
func assertPublishable(method string, addr uintptr) {
	if addr == 0 {
		return
	}
	if why := invariants.WhyUnpublishable(addr); why != "" {
		panic(fmt.Sprintf("rcu: %s of %#x at %s: %s", method, addr, callSite(), why))
	}
}

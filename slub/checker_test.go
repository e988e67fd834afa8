package slub_test

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

// The checker knows from its workers which objects are in use, and shares only their addresses
// with what it checks. It finds an object with two owners when the second one takes it, a write
// by a goroutine that is not the owner when the owner frees it, and objects that were lost or
// counted twice at the end (checker_audit_test.go).

// A ledger has the owner of every object of an arena.
//
//	word == 0        never allocated, or freed
//	word is even     allocated; each allocation has a stamp of its own
//	word is odd      given to FreeRCU; a token whose grace period started before that
type ledger struct {
	t      *testing.T
	base   uintptr
	words  []atomic.Uint64 // by (address - base) / 8
	domain *rcu.Domain
	faults atomic.Int64
}

// expiring distinguishes a token from a stamp: package rcu's sequence numbers are odd.
const expiring = 1

func newLedger(t *testing.T, a *arena.Arena, d *rcu.Domain) *ledger {
	return &ledger{t: t, base: a.Base(), words: offHeap[atomic.Uint64](t, a), domain: d}
}

// offHeap returns a value for each word of an arena, in memory that is resident where it was used.
// On Go's heap the ledger could be resident in whole, fill a small node, and displace the objects.
func offHeap[V any](t *testing.T, a *arena.Arena) []V {
	t.Helper()
	n := int(a.Pages()) * (mem.PageSize / 8)
	bytes := uintptr(n) * unsafe.Sizeof(*new(V))
	addr, err := sys.Reserve(bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return // a worker or hook may still use it
		}
		if err := sys.Unmap(addr, bytes); err != nil {
			t.Error(err)
		}
	})
	return unsafe.Slice(mem.At[V](addr), n)
}

// maxFaults is the number of faults that are reported before all workers stop: a fault that
// repeats would fill the log with millions of lines.
const maxFaults = 5

func (b *ledger) faultf(format string, args ...any) {
	b.t.Helper()
	if b.faults.Add(1) <= maxFaults {
		b.t.Errorf(format, args...)
	}
}

func (b *ledger) broken() bool { return b.faults.Load() >= maxFaults }

func (b *ledger) word(p unsafe.Pointer) *atomic.Uint64 { return &b.words[(uintptr(p)-b.base)/8] }

// claim enters a new owner. An object given to FreeRCU may be allocated only after its grace
// period.
func (b *ledger) claim(p unsafe.Pointer, stamp uint64) {
	w := b.word(p)
	if w.CompareAndSwap(0, stamp) {
		return
	}
	old := w.Load()
	switch {
	case old&expiring == 0:
		b.faultf("%p handed to %#x while %#x has it", p, stamp, old)
	case !b.domain.Poll(rcu.Token(old)):
		b.faultf("%p handed to %#x before its grace period is over", p, stamp)
	case !w.CompareAndSwap(old, stamp):
		b.faultf("%p handed to %#x and %#x", p, stamp, w.Load())
	}
}

// release removes the owner and returns its stamp.
func (b *ledger) release(p unsafe.Pointer) (stamp uint64) {
	stamp = b.word(p).Swap(0)
	if stamp == 0 || stamp&expiring != 0 {
		b.faultf("%p had another owner: its word is %#x", p, stamp)
	}
	return stamp
}

// retire is release for FreeRCU, called before it: the token's grace period starts no later than
// the cache's.
func (b *ledger) retire(p unsafe.Pointer) (stamp uint64) {
	stamp = b.word(p).Swap(uint64(b.domain.Start()))
	if stamp == 0 || stamp&expiring != 0 {
		b.faultf("retired %p had another owner: its word is %#x", p, stamp)
	}
	return stamp
}

// expire is called by a destructor: the grace period must be over, and the object not allocated
// since.
func (b *ledger) expire(p unsafe.Pointer) {
	old := b.word(p).Swap(0)
	if old&expiring == 0 || !b.domain.Poll(rcu.Token(old)) {
		b.faultf("destructor called for %p, whose word is %#x", p, old)
	}
}

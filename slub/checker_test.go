package slub

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// The checker knows which objects are out from what its workers tell it, and shares
// nothing with what it checks but the addresses. It finds an object with two owners
// when the second one takes it, a write by anybody but the owner when the owner gives
// it back, and what got lost or was counted twice at the end (checker_audit_test.go).

// A book notes the owner of every object of an arena.
//
//	word == 0        never taken, or given back
//	word is even     taken; each taking has a stamp of its own
//	word is odd      given to FreeRCU; a token, whose grace period began before that
type book struct {
	t      *testing.T
	base   uintptr
	words  []atomic.Uint64 // by (address - base) / 8
	domain *rcu.Domain
	faults atomic.Int64
}

// expiring tells a token from a stamp: package rcu's sequence numbers are odd.
const expiring = 1

func newBook(t *testing.T, a *arena.Arena, d *rcu.Domain) *book {
	return &book{t: t, base: a.Base(), words: make([]atomic.Uint64, uint64(a.Pages())*(mem.PageSize/8)), domain: d}
}

// maxFaults is how many faults are reported before everybody stops: one that repeats
// would fill the log with millions of lines.
const maxFaults = 5

func (b *book) faultf(format string, args ...any) {
	b.t.Helper()
	if b.faults.Add(1) <= maxFaults {
		b.t.Errorf(format, args...)
	}
}

func (b *book) broken() bool { return b.faults.Load() >= maxFaults }

func (b *book) word(p unsafe.Pointer) *atomic.Uint64 { return &b.words[(uintptr(p)-b.base)/8] }

// claim enters a new owner. An object that went through FreeRCU may come back only
// after its grace period.
func (b *book) claim(p unsafe.Pointer, stamp uint64) {
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

// release ends an ownership and returns its stamp.
func (b *book) release(p unsafe.Pointer) (stamp uint64) {
	stamp = b.word(p).Swap(0)
	if stamp == 0 || stamp&expiring != 0 {
		b.faultf("%p was taken by somebody else: its word is %#x", p, stamp)
	}
	return stamp
}

// retire is release for FreeRCU, to be called before that: the token's grace period
// begins no later than the cache's own.
func (b *book) retire(p unsafe.Pointer) (stamp uint64) {
	stamp = b.word(p).Swap(uint64(b.domain.Start()))
	if stamp == 0 || stamp&expiring != 0 {
		b.faultf("retired %p was taken by somebody else: its word is %#x", p, stamp)
	}
	return stamp
}

// expire is what a destructor tells: the grace period is over, and nobody has taken
// the object since.
func (b *book) expire(p unsafe.Pointer) {
	old := b.word(p).Swap(0)
	if old&expiring == 0 || !b.domain.Poll(rcu.Token(old)) {
		b.faultf("destructor called for %p, whose word is %#x", p, old)
	}
}

// spread makes the words of a pattern differ from each other in all bytes.
const spread = 0x9e3779b97f4a7c15

// paint fills an object with what its address and stamp determine. The stamp can be
// read back from the first word.
func paint(p unsafe.Pointer, size uintptr, stamp uint64) {
	next := stamp ^ uint64(uintptr(p))
	words := unsafe.Slice((*uint64)(p), size/8)
	for i := range words {
		words[i] = next
		next += spread
	}
	for i := size &^ 7; i < size; i++ {
		*(*byte)(unsafe.Add(p, i)) = byte(next >> (i & 7 * 8))
	}
}

// painted reports whether every byte is as paint left it.
func painted(p unsafe.Pointer, size uintptr, stamp uint64) bool {
	next := stamp ^ uint64(uintptr(p))
	var differ uint64
	for _, w := range unsafe.Slice((*uint64)(p), size/8) {
		differ |= w ^ next
		next += spread
	}
	for i := size &^ 7; i < size; i++ {
		differ |= uint64(*(*byte)(unsafe.Add(p, i)) ^ byte(next>>(i&7*8)))
	}
	return differ == 0
}

// stampIn reads the stamp of a painted object of at least 8 bytes.
func stampIn(p unsafe.Pointer) uint64 { return *(*uint64)(p) ^ uint64(uintptr(p)) }

func zeroed(p unsafe.Pointer, size uintptr) bool {
	var sum byte
	for _, b := range unsafe.Slice((*byte)(p), size) {
		sum |= b
	}
	return sum == 0
}

package slab

import (
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/owner"
)

// A slab of a single object takes the object's pages, and the pages behind it serve others.
func TestSingleTakesItsPages(t *testing.T) {
	const size, order = 9 * mem.PageSize, 4
	r := open(t, size, Config{Order: order, Single: true, MinPartial: arena.None})
	before := r.Arena().InUse()
	ps := r.take(2)
	if got := r.Arena().InUse() - before; got != 2*size {
		t.Errorf("two objects of %d bytes take %d", size, got)
	}
	for _, p := range ps {
		if off := uintptr(p) - r.Arena().Base(); off%(mem.PageSize<<order) != 0 {
			t.Errorf("an object lies %#x behind the range's start", off)
		}
	}
	r.FreeBulk(ps)
	if got := r.Arena().InUse(); got != before {
		t.Errorf("%d bytes are in use, %d before", got, before)
	}
}

// One goroutine of several claims an object in use, and none one that is free, or an address that
// is not an object's, whatever its page's record held before.
func TestSingleIsClaimedOnce(t *testing.T) {
	r := open(t, 9*mem.PageSize, Config{Order: 4, Single: true, MinPartial: arena.None})
	p := r.take(1)[0]
	word := owner.Of(r.id, 0)
	for range 100 {
		r.SetInUse(p)
		if r.Claim(unsafe.Add(p, 8), word, Free) || r.Claim(unsafe.Add(p, mem.PageSize), word, Free) || r.Claim(p, 0, Free) {
			t.Fatal("claimed by another address or another owner")
		}
		var claimed atomic.Int64
		var goroutines sync.WaitGroup
		for range 4 {
			goroutines.Go(func() {
				if r.Claim(p, word, Free) {
					claimed.Add(1)
				}
			})
		}
		goroutines.Wait()
		if n := claimed.Load(); n != 1 {
			t.Fatalf("%d goroutines have claimed an object", n)
		}
	}
	r.SetInUse(p)
	r.SetFree(p)
	if r.Claim(p, word, Free) {
		t.Error("a free object was claimed")
	}
	r.FreeBulk([]unsafe.Pointer{p})
	// The arena doesn't use this part of a free page's record.
	*r.mark(p) = uint32(word)
	if again := r.take(1)[0]; again != p || r.Claim(p, word, Free) {
		t.Errorf("a new slab at %p, where one was at %p, is in use", again, p)
	}
	r.FreeBulk([]unsafe.Pointer{p})
}

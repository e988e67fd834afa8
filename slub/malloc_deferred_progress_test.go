package slub

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
)

// What waits for a drain waits as long as that frees objects, and gives up where it frees none.
func TestDrainIsWaitedForWhileItFrees(t *testing.T) {
	var d deferLarge
	tries := 0
	try := func(*sync.Mutex) bool {
		if tries++; tries < 5 {
			d.freed.Add(1) // by the drain, meanwhile
		}
		return tries == 7
	}
	if d.lockWhileFreeing(try) || tries != 5 {
		t.Errorf("it gave up after %d tries; the drain freed an object in 4", tries)
	}
	if tries = 6; !d.lockWhileFreeing(try) {
		t.Error("it gave up, though it has the lock")
	}
}

// A drain has made progress also if other objects were deferred meanwhile.
func TestDrainWhileObjectsAreDeferred(t *testing.T) {
	var later []unsafe.Pointer
	var b *Buckets
	b = openBuckets(t, nil, BucketsConfig{Hooks: hooks.Hooks{Free: func(hooks.Object) bool {
		for _, p := range later {
			b.FreeDeferred(p)
		}
		later = nil
		return false
	}}})
	const n = 1_100_000
	first := malloc(t, b, n)
	later = []unsafe.Pointer{malloc(t, b, n), malloc(t, b, n)}
	b.FreeDeferred(first)
	if !b.drainLargePortion(1) {
		t.Error("an allocation gives up, though the drain has freed an object")
	}
	same(t, "Barrier", b.Barrier(t.Context()), nil)
}

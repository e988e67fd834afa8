package slub

import (
	"sync"
	"syscall"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// Aliases of kmalloc caches got sheaves of their own, although the cache whose slabs they share
// had some already (1dba91a0493b). Here an alias needs no off-heap memory.
func TestAliasMakesNoSheaves(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	c := open(t, a, Config{Name: "boot", Size: 64})
	freeAll(c, take(t, c, 100))
	made := c.Stats().Events[SheafAlloc]
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	alias, err := New(a, Config{Name: "late", Size: 64})
	restore()
	if err != nil {
		t.Fatal(err)
	}
	if now := alias.Stats().Events[SheafAlloc]; now != made || alias.sheaves != c.sheaves {
		t.Errorf("%d sheaves, and %d with an alias", made, now)
	}
	freeAll(alias, take(t, alias, 1000))
	if err := alias.Close(); err != nil {
		t.Error(err)
	}
	freeAll(c, take(t, c, 1000))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Events[SheafAlloc] != s.Events[SheafFree] {
		t.Errorf("%d sheaves were made, %d freed", s.Events[SheafAlloc], s.Events[SheafFree])
	}
}

// Concurrent calls of DefaultBuckets make the buckets once. No test before this one in its process
// may have made them.
func TestDefaultBucketsAreMadeOnce(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	var asking sync.WaitGroup
	var found [8]*Buckets
	for i := range found {
		asking.Go(func() { found[i], _ = DefaultBuckets() })
	}
	asking.Wait()
	for _, b := range found {
		if b == nil || b != found[0] {
			t.Errorf("default buckets %p and %p", b, found[0])
		}
	}
}

package slub_test

import (
	"github.com/slubd/slubd/slub"
	"testing"
	"unsafe"
)

// MallocNoWait takes what is at hand, and makes no slab, page run or mapping.
func TestMallocNoWait(t *testing.T) {
	for _, partitions := range []int{1, 2} {
		b := openBuckets(t, nil, slub.BucketsConfig{Partitions: partitions})
		_, err := b.MallocNoWait(100)
		same(t, "MallocNoWait without a slab", err, slub.ErrWouldBlock)
		for i := range 2 { // one call site, one partition
			var p unsafe.Pointer
			if i == 0 {
				for _, c := range b.Caches() {
					if c.Stats().Size == 112 {
						freeAll(c, take(t, c, 10))
					}
				}
			}
			if p, err = b.MallocNoWait(100); err != nil || b.Size(p) != 112 {
				t.Fatalf("%d bytes at hand: %v", b.Size(p), err)
			}
			b.Free(p)
		}
		allocs := b.LargeStats()
		for _, n := range []int{maxPageClass + 1, maxRun, maxRun + 1} {
			b.Free(malloc(t, b, n)) // idle pages are not at hand either
			_, err := b.MallocNoWait(n)
			same(t, "MallocNoWait of pages", err, slub.ErrWouldBlock)
		}
		if now := b.LargeStats(); now.Runs.Allocs != allocs.Runs.Allocs+2 || now.Mappings.Allocs != allocs.Mappings.Allocs+1 {
			t.Errorf("large objects %+v, before %+v", now, allocs)
		}
		_, err = b.MallocNoWait(-1)
		same(t, "MallocNoWait of -1", err, slub.ErrSize)
		zero := malloc(t, b, 0)
		if p, err := b.MallocNoWait(0); p != zero || err != nil {
			t.Errorf("no bytes are %p, %v", p, err)
		}
		same(t, "Close", b.Close(), nil)
		for _, n := range kinds {
			_, err := b.MallocNoWait(n)
			same(t, "MallocNoWait after Close", err, slub.ErrClosed)
		}
	}
}

// The address of no bytes is made by a system call, which MallocNoWait must not make.
func TestMallocNoWaitOfNothing(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	before := withoutBytes.Swap(0)
	defer withoutBytes.Store(before)
	_, err := b.MallocNoWait(0)
	same(t, "MallocNoWait of no bytes", err, slub.ErrWouldBlock)
}

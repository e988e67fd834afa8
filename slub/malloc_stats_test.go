package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Stats counts the objects of every class and kind, over all partitions, and what waits.
func TestBucketsStats(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		domain := new(rcu.Domain)
		b := openBuckets(t, nil, slub.BucketsConfig{Name: "counted", Partitions: partitions, Domain: domain})
		var held []unsafe.Pointer
		for _, n := range []int{100, 100, 120, 5000, 1_200_000, maxRun, maxRun + 1, 40_000} {
			held = append(held, malloc(t, b, n))
		}
		s := b.Stats()
		if s.Large.Name != "counted" || s.Large.ID != bucketsID(b) || s.Backlog.Name != "counted" || len(s.Classes) != len(slub.Classes()) {
			t.Errorf("stats of %+v, backlog %+v, %d classes", s.Large, s.Backlog, len(s.Classes))
		}
		for i, c := range s.Classes {
			want := map[int64]uint64{112: 2, 128: 1, 5120: 1, 40960: 1}[c.Size]
			if c.Size != int64(slub.Classes()[i]) || c.Objects != want || c.Bytes != int64(want)*c.Size ||
				want > 0 && (c.Slabs == 0 || c.Reserve < c.Bytes) || want == 0 && (c.Slabs != 0 || c.Reserve != 0) {
				t.Errorf("%d partitions: %+v, want %d objects", partitions, c, want)
			}
		}
		runs := int64(b.Size(held[4])) + maxRun
		mapped := int64(maxRun + mem.PageSize)
		if s.Large.Runs != (slub.PageStats{2, 2, runs}) || s.Large.Mappings != (slub.PageStats{1, 1, mapped}) || s.Large.Waiting != 0 {
			t.Errorf("large objects %+v", s.Large)
		}
		if s.Objects != 8 || s.Bytes != 2*112+128+5120+40960+runs+mapped {
			t.Errorf("%d objects of %d bytes", s.Objects, s.Bytes)
		}

		reader := domain.Register("reader")
		b.FreeRCUNoWait(held[6])
		b.FreeDeferred(held[5])
		if l := b.LargeStats(); l.Waiting != 2 || l.Runs.Objects != 2 || l.Mappings.Objects != 1 {
			t.Errorf("while two wait: %+v", l)
		}
		same(t, "Close of the reader", reader.Close(), nil)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		b.FreeBulk(append(held[:5], held[7]))
		same(t, "Close", b.Close(), nil)
		s = b.Stats()
		if s.Objects != 0 || s.Bytes != 0 || s.Large.Runs != (slub.PageStats{Allocs: 2}) || s.Large.Mappings != (slub.PageStats{Allocs: 1}) {
			t.Errorf("after Close: %+v", s)
		}
	}
}

// Shrink empties the sheaves and barns of all classes and leaves no page idle.
func TestBucketsShrink(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, slub.BucketsConfig{})
	kept := malloc(t, b, 100)
	for _, n := range boundaries {
		b.Free(malloc(t, b, n))
	}
	late := malloc(t, b, 1_200_000)
	b.FreeDeferred(late)
	if left := b.Shrink(); left != 1 {
		t.Errorf("%d slabs are left of one object", left)
	}
	var used, free int64
	for _, n := range a.Stats().Nodes {
		used, free = used+n.Used, free+n.Free
	}
	if used > 64<<10 || free != 0 {
		t.Errorf("%d bytes are used and %d idle", used, free)
	}
	b.Free(kept)
}

// The caches of Buckets lead to their Buckets, and have its arena and domain.
func TestBucketsBelongTogether(t *testing.T) {
	a, domain := newArena(t, arena.Config{}), new(rcu.Domain)
	b := openBuckets(t, a, slub.BucketsConfig{Name: "whole", Partitions: 2, Domain: domain})
	for _, c := range b.Caches() {
		if c.Buckets() != b || c.Arena() != b.Arena() || c.Domain() != b.Domain() {
			t.Fatalf("%q is of %p, want %p", c.Name(), c.Buckets(), b)
		}
	}
	if b.Name() != "whole" || b.Arena() != a || b.Domain() != domain {
		t.Errorf("buckets %q in %p with %p", b.Name(), b.Arena(), b.Domain())
	}
	if c := open(t, a, slub.Config{Size: 64}); c.Buckets() != nil {
		t.Error("a cache of its own has Buckets")
	}
	if b := openBuckets(t, a, slub.BucketsConfig{}); b.Name() != "malloc" || b.Domain() != slub.DefaultDomain() {
		t.Errorf("automatic name %q, domain %p", b.Name(), b.Domain())
	}
}

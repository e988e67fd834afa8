package slub

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// A write to a free object that is never allocated again is reported when the pages of its slab go
// back, by Shrink or by Close.
func TestStaleWriteIsFoundAtTheEnd(t *testing.T) {
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	for _, w := range []struct{ size, at int }{{24, 0}, {64, 0}, {64, 63}, {1000, 500}, {8192, 8191}, {40_000, 1}, {200_000, 70_000}} {
		for what, end := range map[string]func(b *Buckets) error{
			"Shrink": func(b *Buckets) error { b.Shrink(); return nil },
			"Close":  (*Buckets).Close,
		} {
			var reports []*hooks.Report
			b := openBuckets(t, nil, BucketsConfig{Name: "stale", Hardened: On,
				Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
			p := malloc(t, b, w.size)
			off := w.at
			if fp := int(b.cacheOf(p).layout.fp); off >= fp && off < fp+freePtrSize {
				off = fp + freePtrSize // a link is checked as such
			}
			b.Free(p)
			*at(p, off) = 0x5a
			var r *hooks.Report
			if err := end(b); errors.As(err, &r) != (what == "Close") {
				t.Errorf("%s: %v", what, err)
			}
			if len(reports) != 1 || reports[0].Kind != hooks.WriteAfterFree || reports[0].Addr != uintptr(p) {
				t.Errorf("%d bytes, write at %d, %s: reported %v, want a write to %p", w.size, off, what, reports, p)
			}
		}
	}
}

// Size reports an object that is free, in a hardened cache. A reader may ask for it while it waits
// for a grace period, and a hook while it is freed.
func TestSizeOfFreeObject(t *testing.T) {
	for _, size := range []int{16, 40_000} {
		var reports []*hooks.Report
		note := func(r *hooks.Report) { reports = append(reports, r) }
		b := openBuckets(t, nil, BucketsConfig{Name: "size", Hardened: On, Hooks: hooks.Hooks{Report: note}})
		p := malloc(t, b, size)
		b.FreeRCU(p)
		if n := b.Size(p); n < size || len(reports) != 0 {
			t.Errorf("%d bytes, size %d during the grace period, reported: %v", size, n, reports)
		}
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		q := malloc(t, b, size)
		b.Free(q)
		if n := b.Size(q); n != 0 || len(reports) != 1 || reports[0].Kind != hooks.DoubleFree || reports[0].Addr != uintptr(q) {
			t.Errorf("%d bytes, size %d of a free object, reported: %v", size, n, reports)
		}
		var hooked *Buckets
		seen := 0
		hooked = openBuckets(t, nil, BucketsConfig{Name: "hooked", Hardened: On, Hooks: hooks.Hooks{Report: note,
			Free: func(o hooks.Object) bool { seen = hooked.Size(mem.Ptr(o.Addr)); return false }}})
		hooked.Free(malloc(t, hooked, size))
		if seen < size || len(reports) != 1 {
			t.Errorf("%d bytes, size %d in the hook, reported: %v", size, seen, reports)
		}
	}
}

// SLUBD_DEBUG with P hardens the classes that can't be debug caches.
func TestDebugHardensPageClasses(t *testing.T) {
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	before := hardenAll
	defer func() { hardenAll = before }()
	hardenAll = false
	for letters, want := range map[string]bool{"FZPU": true, "-": false, "U": false, "P,other-40960": false, "P,big-*": true} {
		b := openBuckets(t, nil, BucketsConfig{Name: "big", Debug: letters})
		p := malloc(t, b, 40_000)
		if c := b.cacheOf(p); c.debug() != nil || c.marks.hardened != want {
			t.Errorf("%s: hardened %t, want %t", letters, c.marks.hardened, want)
		}
		b.Free(p)
	}
}

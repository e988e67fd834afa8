package slub

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// A write to a free object that is never allocated again is reported when the pages of its slab go
// back, by Shrink or by Close.
func TestStaleWriteIsFoundAtTheEnd(t *testing.T) {
	withoutSamples(t) // it writes to free objects
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
	withoutSamples(t) // it looks at free objects
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

// So may a hook that SetHooks has set, also if SetHooks takes it away meanwhile.
func TestSizeInHookThatGoes(t *testing.T) {
	for _, size := range []int{16, 40_000} {
		var reports []*hooks.Report
		note := func(r *hooks.Report) { reports = append(reports, r) }
		b := openBuckets(t, nil, BucketsConfig{Name: "size", Hardened: On})
		begun, gone, seen := make(chan bool), make(chan bool), make(chan int)
		same(t, "SetHooks", b.SetHooks(hooks.Hooks{Report: note, Free: func(o hooks.Object) bool {
			begun <- true
			<-gone
			seen <- b.Size(mem.Ptr(o.Addr))
			return false
		}}), nil)
		for _, taken := range []bool{false, true} {
			p := malloc(t, b, size)
			freed := make(chan bool)
			go func() { b.Free(p); close(freed) }()
			<-begun
			if taken {
				same(t, "SetHooks", b.SetHooks(hooks.Hooks{Report: note}), nil)
			}
			gone <- true
			if n := <-seen; n < size {
				t.Errorf("%d bytes, size %d in the hook, taken away: %t", size, n, taken)
			}
			<-freed
		}
		if len(reports) != 0 {
			t.Errorf("%d bytes, reported: %v", size, reports)
		}
	}
}

// Close calls the Report hook in force for what was written to a free object, and panics without
// one as little as with it.
func TestStaleWriteAfterSetHooks(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	for _, comes := range []bool{false, true} {
		reports := 0
		with, without := hooks.Hooks{Report: func(*hooks.Report) { reports++ }}, hooks.Hooks{}
		if comes {
			with, without = without, with
		}
		c, err := New(newArena(t, arena.Config{}), Config{Size: 64, Hardened: On, Hooks: with})
		if err != nil {
			t.Fatal(err)
		}
		p := take(t, c, 1)[0]
		c.Free(p)
		same(t, "SetHooks", c.SetHooks(without), nil)
		*at(p, int(c.layout.fp)^8) = 0x5a
		var r *hooks.Report
		if err := c.Close(); !errors.As(err, &r) || r.Addr != uintptr(p) || (reports == 1) != comes {
			t.Errorf("the hook comes: %t; Close: %v; %d reports", comes, err, reports)
		}
	}
}

// Without a Report hook a Shrink that finds a write panics, as every other operation. Close returns
// what it finds itself, and nothing of that.
func TestStaleWriteThatShrinkFinds(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	c, err := New(newArena(t, arena.Config{}), Config{Size: 64, Hardened: On})
	if err != nil {
		t.Fatal(err)
	}
	p := take(t, c, 1)[0]
	c.Free(p)
	*at(p, int(c.layout.fp)^8) = 0x5a
	var r *hooks.Report
	func() {
		defer func() { r, _ = recover().(*hooks.Report) }()
		c.Shrink()
	}()
	if r == nil || r.Addr != uintptr(p) {
		t.Errorf("Shrink panics with %v, want a write to %p", r, p)
	}
	same(t, "Close", c.Close(), nil)
}

// A slab that goes back counts as one that does, whatever was found in its free objects: reclaim
// goes on by that number.
func TestStaleWriteGivesBack(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	c := openRecorder(t, nil, Config{Size: 64, Flags: NoSheaves, Hardened: On})
	ps := take(t, c.Cache, 3*c.perSlab)
	freeAll(c.Cache, ps)
	*at(ps[0], int(c.layout.fp)^8) = 0x5a
	if n := c.slabs.FreeEmpty(); n != 3 || len(c.Reports) != 1 {
		t.Errorf("%d of 3 slabs went back, reports: %v", n, c.Reports)
	}
}

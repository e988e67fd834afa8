package slub_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// The report about a free after Close says so, whether the page has a new owner or not.
func TestReportAfterClose(t *testing.T) {
	withoutSamples(t) // it says which object comes next
	a := newArena(t, smallArena)
	c := openRecorder(t, a, slub.Config{Name: "gone", Size: 64})
	p := take(t, c.Cache, 1)[0]
	c.Free(p)
	same(t, "Close", c.Close(), nil)
	says := func(kind hooks.Kind, want string) {
		t.Helper()
		for _, how := range []string{"Free", "FreeBulk"} {
			c.Reports = nil
			frees[how](c.Cache, p)
			if len(c.Reports) != 1 || c.Reports[0].Kind != kind || c.Reports[0].Detail != want {
				t.Errorf("%s: %v, want %q", how, c.Reports, want)
			}
		}
	}
	says(hooks.ForeignPointer, "its page holds no slab; if it ever was an object, its slab or pages have been given back; the cache is closed")
	next := open(t, a, slub.Config{Name: "next", Size: 64})
	q := take(t, next, 1)[0]
	defer next.Free(q)
	if slabOf(next, q) == slabOf(next, p) {
		says(hooks.WrongCache, "the cache is closed")
	}
	alive := openRecorder(t, a, slub.Config{Name: "alive", Size: 64})
	alive.Free(mem.Ptr(a.Base() + uintptr(a.Span()) - 8))
	if len(alive.Reports) != 1 || strings.Contains(alive.Reports[0].Detail, "closed") {
		t.Errorf("of a cache that is open: %v", alive.Reports)
	}
}

// Buckets say so too, and of a slice that append has moved what has become of it.
func TestReportOfSlices(t *testing.T) {
	var reports []*hooks.Report
	b := openBuckets(t, nil, slub.BucketsConfig{Name: "slices", Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	s, err := b.Bytes(300)
	if err != nil {
		t.Fatal(err)
	}
	moved := append(s[:cap(s)], 1)
	b.FreeBytes(moved)
	b.FreeBytesRCU(moved[:1])
	if _, err := b.ReallocBytes(moved, 10); !errors.Is(err, slub.ErrForeign) {
		t.Errorf("ReallocBytes returns %v", err)
	}
	b.Free(unsafe.Pointer(unsafe.SliceData(moved)))
	b.FreeBytes(s)
	same(t, "Close", b.Close(), nil)
	b.FreeBytes(moved)
	b.Free(mem.Ptr(b.Arena().Addr(b.Arena().Pages()) - 8))
	outgrown := "on Go's heap, as a slice of Bytes is when append has outgrown its capacity"
	want := []string{
		outgrown, outgrown, outgrown,
		onGoHeap(),
		outgrown + "; the buckets are closed",
		"its page holds no slab; if it ever was an object, its slab or pages have been given back; the buckets are closed",
	}
	if len(reports) != len(want) {
		t.Fatalf("%d reports: %v", len(reports), reports)
	}
	for i, r := range reports {
		if r.Kind != hooks.ForeignPointer || r.Detail != want[i] {
			t.Errorf("%v, want %q", r, want[i])
		}
	}
}

// The error of a Malloc that can't succeed has the size and the limit.
func TestMallocTexts(t *testing.T) {
	b := openBuckets(t, newArena(t, arena.Config{Name: "texts"}), slub.BucketsConfig{})
	for n, want := range map[int]string{
		1 << 60: `slub: buckets "malloc": arena: out of memory: more than the largest mapping's 8796093022208 bytes (8 TiB) (arena texts, 1152921504606846976 bytes, node `,
		-1:      "slub: negative size: -1",
	} {
		for name, malloc := range map[string]func(int) (unsafe.Pointer, error){"Malloc": b.Malloc, "MallocZero": b.MallocZero} {
			if _, err := malloc(n); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s(%d): %v, want %s", name, n, err, want)
			}
		}
	}
	for _, n := range []int{math.MaxInt, 1<<43 + 1} {
		_, err := b.Malloc(n)
		same(t, "Malloc", err, slub.ErrNoMemory)
	}
}

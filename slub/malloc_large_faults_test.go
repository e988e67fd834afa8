package slub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/debug"
)

// largeSizes returns sizes of runs and mappings, of whole pages and of others, on either side of
// what the red zones make of the largest run. In a build that watches each access they are few.
func largeSizes() []int {
	sizes := []int{33 << 10, 256 << 10, maxRun - 1}
	if !sanitized {
		sizes = append(sizes, 1<<20, 3<<20+1, maxRun-2*mem.PageSize, 9<<20+17)
	}
	return sizes
}

// A largeFault is a byte to be overwritten beside a large object or in one that is free.
type largeFault struct {
	flags, part string
	free        bool
	kind        hooks.Kind
	// off is where, from the object's start. The user has asked for n bytes, and there is room.
	off func(l debug.Layout, n, room int) int
}

var largeFaults = []largeFault{
	{"Z", "Left Redzone", false, hooks.RedZoneOverwritten, func(debug.Layout, int, int) int { return -mem.PageSize }},
	{"Z", "Left Redzone", false, hooks.RedZoneOverwritten, func(debug.Layout, int, int) int { return -1 }},
	{"ZP", "Left Redzone", true, hooks.RedZoneOverwritten, func(debug.Layout, int, int) int { return -1 }},
	{"Z", "kmalloc Redzone", false, hooks.RedZoneOverwritten, func(_ debug.Layout, n, _ int) int { return n }},
	{"Z", "kmalloc Redzone", false, hooks.RedZoneOverwritten, func(_ debug.Layout, _, room int) int { return room - 1 }},
	{"Z", "Right Redzone", false, hooks.RedZoneOverwritten, func(_ debug.Layout, _, room int) int { return room }},
	{"Z", "Right Redzone", false, hooks.RedZoneOverwritten, func(l debug.Layout, _, _ int) int { return int(l.Inuse) - 1 }},
	{"ZP", "Right Redzone", true, hooks.RedZoneOverwritten, func(_ debug.Layout, _, room int) int { return room }},
	{"ZU", "Allocation track", false, hooks.RedZoneOverwritten, func(l debug.Layout, _, _ int) int { return int(l.Inuse) }},
	{"ZU", "Free track", false, hooks.RedZoneOverwritten, func(l debug.Layout, _, _ int) int { return int(l.Inuse) + 24 }},
	{"Z", "Request", false, hooks.RedZoneOverwritten, func(l debug.Layout, _, _ int) int { return int(l.Inuse) + tracksOf(l) }},
	{"ZP", "Object padding", false, hooks.PaddingOverwritten, func(_ debug.Layout, _, room int) int { return room + mem.PageSize - 1 }},
	{"P", "Alignment padding", false, hooks.PaddingOverwritten, func(_ debug.Layout, _, room int) int { return room }},
	{"P", "Poison", true, hooks.WriteAfterFree, func(debug.Layout, int, int) int { return 0 }},
	{"P", "Poison", true, hooks.WriteAfterFree, func(_ debug.Layout, n, _ int) int { return n / 2 }},
	{"P", "End Poison", true, hooks.WriteAfterFree, func(_ debug.Layout, _, room int) int { return room - 1 }},
}

// tracksOf returns how many bytes of tracks there are.
func tracksOf(l debug.Layout) int {
	if l.Flags.Has(debug.Users) {
		return 32
	}
	return 0
}

// Each fault is found in objects of each size: with F by the free, or when a free object no longer
// waits; without it by Validate, and if nothing has looked before by Close. The report has the
// first byte and the calls, and the Buckets go on.
func TestDebugLargeFaults(t *testing.T) {
	for _, n := range largeSizes() {
		for _, f := range largeFaults {
			for _, found := range []string{"F", "Validate", "Close"} {
				if f.free || found != "Close" { // the free would write all of it
					injectLarge(t, n, f, found)
				}
			}
		}
	}
}

func injectLarge(t *testing.T, n int, f largeFault, found string) {
	t.Helper()
	flags := f.flags
	if found == "F" {
		flags += "FU"
	}
	what := fmt.Sprintf("%d bytes, %s, %s, free %t, found by %s", n, flags, f.part, f.free, found)
	b, reports := debugBuckets(t, BucketsConfig{Name: "fault", Debug: flags})
	p, other := mustMalloc(t, b, n), mustMalloc(t, b, n)
	l, _ := b.largeAt(p)
	layout := b.large.debug.layoutOf(l)
	off := f.off(layout, n, int(l.bytes))
	if f.part == "kmalloc Redzone" && int(l.bytes) == n { // all of the room was asked for
		b.FreeBulk([]unsafe.Pointer{p, other})
		same(t, what, b.Close(), nil)
		return
	}
	if f.free {
		b.Free(p)
	}
	was := *at(p, off)
	*at(p, off) = was ^ 0x80
	var err error
	switch {
	case found == "Validate":
		err = b.Validate()
	case found == "F" && f.free:
		b.Shrink()
	}
	if !f.free {
		b.Free(p)
	}
	b.Free(other)
	if found == "Close" {
		err = b.Close()
	}
	if len(*reports) != 1 {
		t.Fatalf("%s: %d reports: %v", what, len(*reports), *reports)
	}
	r := (*reports)[0]
	var wrapped *hooks.Report
	if found != "F" && (!errors.As(err, &wrapped) || wrapped != r) {
		t.Errorf("%s: error %v", what, err)
	}
	o, first := r.Overwrite, uintptr(p)+uintptr(off)
	detail := fmt.Sprintf("First byte 0x%x instead of 0x%x", was^0x80, was)
	fix, last := "FIX fault-large: Restoring "+f.part, first
	if strings.HasSuffix(f.part, "track") || f.part == "Request" {
		first &^= 7
		detail, fix, last = "Its check bits do not fit", "FIX fault-large: Resetting "+f.part, first+7
	} else if o.Got != was^0x80 || o.Want != was {
		t.Errorf("%s: %+v", what, o)
	}
	if r.Kind != f.kind || r.Addr != uintptr(p) || o.Part != f.part || o.First != first || o.Last != last || !r.Repaired {
		t.Fatalf("%s: %+v, %+v; the byte at %#x was %#x", what, r, o, first, was)
	}
	for _, text := range []string{"BUG fault-large (debug ", f.part + " overwritten", detail, fix, fmt.Sprintf("Object 0x%x @offset=%d", p, layout.Left)} {
		if !strings.Contains(r.History, text) {
			t.Errorf("%s: no %q in\n%s", what, text, r.History)
		}
	}
	if found == "F" && !strings.HasSuffix(f.part, "track") {
		if !strings.Contains(callSites(r.Allocated), "slub.mustMalloc") || strings.Contains(callSites(r.Freed), "slub.injectLarge") != f.free {
			t.Errorf("%s: allocated by %s, freed by %s", what, callSites(r.Allocated), callSites(r.Freed))
		}
	}
	*reports = nil
	if err := b.Validate(); err != nil {
		t.Errorf("%s: after the repair: %v", what, err)
	}
	same(t, what, b.Close(), nil)
}

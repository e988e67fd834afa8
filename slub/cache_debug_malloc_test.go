package slub

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub/internal/debug"
	"github.com/slubd/slubd/slub/internal/failslab"
)

// The bytes behind what was asked for are a red zone, however it was asked for, and only these: a
// user may write to all that it got. One that asks for the room gets all of it.
func TestDebugMalloc(t *testing.T) {
	withoutSamples(t) // Validate does not look at sampled objects
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	for _, letters := range []string{"FZPU", "FZ", "Z"} {
		for _, flags := range []Flags{0, InitOnAlloc, InitOnFree} {
			useDebugBuckets(t, letters, flags)
		}
	}
}

func useDebugBuckets(t *testing.T, letters string, flags Flags) {
	t.Helper()
	var reports []*hooks.Report
	b, err := NewBuckets(newArena(t, arena.Config{}), BucketsConfig{Debug: letters, Flags: flags,
		Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	if err != nil {
		t.Fatal(err)
	}
	free := func(p unsafe.Pointer) {
		if c := b.cacheOf(p); !c.debug().has(debug.Consistency) {
			_ = c.Validate() // finds what the free would find
		}
		b.Free(p)
	}
	must := func(p unsafe.Pointer, err error) unsafe.Pointer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	bulk := make([]unsafe.Pointer, 3)
	for _, n := range []int{1, 7, 8, 18, 100, 3000, 20000} {
		for name, malloc := range map[string]func() unsafe.Pointer{
			"Malloc":     func() unsafe.Pointer { return must(b.Malloc(n)) },
			"MallocZero": func() unsafe.Pointer { return must(b.MallocZero(n)) },
			"MallocNoWait": func() unsafe.Pointer {
				b.Free(must(b.Malloc(n))) // one is at hand
				return must(b.MallocNoWait(n))
			},
			"MallocAligned": func() unsafe.Pointer { return must(b.MallocAligned(n, 64)) },
			"MallocContext": func() unsafe.Pointer { return must(b.MallocContext(t.Context(), n)) },
			"MallocBulk": func() unsafe.Pointer {
				same(t, "MallocBulk", b.MallocBulk(n, bulk), nil)
				b.FreeBulk(bulk[:2])
				return bulk[2]
			},
			"Realloc": func() unsafe.Pointer { return must(b.Realloc(must(b.Malloc(n/2+1)), n)) },
			"NewSlice": func() unsafe.Pointer {
				s, err := b.NewSlice(n)
				return must(mem.Ptr(s.addr), err)
			},
		} {
			p := malloc()
			if flags != 0 && name != "Realloc" && !zeroed(p, uintptr(n)) {
				t.Errorf("%s(%d): % x", name, n, mem.Bytes(uintptr(p), uintptr(n)))
			}
			paint(p, uintptr(n), 1)
			if free(p); len(reports) != 0 {
				t.Fatalf("%s %v, %s(%d): %v", letters, flags, name, n, reports[0])
			}
			p = malloc()
			*at(p, n) ^= 0xff
			free(p)
			if len(reports) != 1 || reports[0].Kind != hooks.RedZoneOverwritten || reports[0].Overwrite.First != uintptr(p)+uintptr(n) {
				t.Fatalf("%s %v, %s(%d): reports %v", letters, flags, name, n, reports)
			}
			reports = nil
		}
		s, err := b.Bytes(n)
		same(t, "Bytes", err, nil)
		paint(unsafe.Pointer(unsafe.SliceData(s)), uintptr(cap(s)), 2)
		b.FreeBytes(s)
		p := must(b.Malloc(n))
		paint(p, uintptr(b.Size(p)), 3)
		if b.FreeRCU(p); len(reports) != 0 {
			t.Fatalf("all the room of %d bytes: %v", n, reports[0])
		}
	}
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	same(t, "Close", b.Close(), nil)
}

// What Realloc makes the user's is looked at before.
func TestDebugReallocChecks(t *testing.T) {
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	var reports []*hooks.Report
	b, err := NewBuckets(newArena(t, arena.Config{}), BucketsConfig{Debug: "FZ",
		Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Malloc(50)
	same(t, "Malloc", err, nil)
	*at(p, 50) = 1
	q, err := b.Realloc(p, 54)
	if err != nil || q != p || len(reports) != 1 || reports[0].Overwrite.Part != "kmalloc Redzone" {
		t.Errorf("%v, %p of %p: %v", err, q, p, reports)
	}
	b.Free(q)
	same(t, "Close", b.Close(), nil)
}

// The environment makes some sizes of the default Buckets debug caches, and leaves the others. All
// of them can be used together.
func TestDebugByName(t *testing.T) {
	out, isChild, err := testutil.Rerun(t, "SLUBD_DEBUG=FUA,malloc-64,malloc-3*;-,other*", "SLUBD_DEBUG_ACTION=repair",
		"SLUBD_PROFILE_RATE=0", "SLUBD_GUARD=off") // a sample's slab goes with the first free
	if !isChild {
		if err != nil || !strings.Contains(out, "BUG malloc-64 (debug FUA): double free") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for _, n := range []int{8, 64, 60, 300, 3000, 30000, 300000} {
		for range 100 {
			p, err := Malloc(n)
			same(t, "Malloc", err, nil)
			paint(p, uintptr(n), 1)
			s, err := BytesZero(n)
			same(t, "BytesZero", err, nil)
			FreeBytes(s)
			if o, _ := Owner(p); o.Cache != nil {
				name, debugged := o.Cache.Name(), o.Cache.debug() != nil
				if want := name == "malloc-64" || strings.HasPrefix(name, "malloc-3") && o.Size <= maxClass; want != debugged {
					t.Fatalf("%s: debug cache %t", name, debugged)
				}
			}
			Free(p)
		}
	}
	p, err := Malloc(64)
	same(t, "Malloc", err, nil)
	Free(p)
	Free(p) // is reported, and the process goes on
	b, err := DefaultBuckets()
	same(t, "DefaultBuckets", err, nil)
	same(t, "Close", b.Close(), nil)
}

// With A any allocation of the cache may be made to fail, without it none of a cache that was made
// before.
func TestDebugFailslab(t *testing.T) {
	fail := failslab.Func(func(cache string, bytes int64) bool { return bytes == 3*64 || bytes == 64 })
	defer failslab.Set(failslab.Set(&fail))
	for _, flags := range []string{"A", "F"} {
		c := open(t, nil, Config{Size: 64, Debug: flags, ProfileRate: None})
		_, err := c.Alloc()
		_, noWait := c.AllocNoWait()
		bulk := c.AllocBulk(make([]unsafe.Pointer, 3))
		if fails := flags == "A"; errors.Is(err, ErrNoMemory) != fails || errors.Is(bulk, ErrNoMemory) != fails || fails && noWait == nil {
			t.Errorf("%s: %v, %v, %v", flags, err, noWait, bulk)
		}
		freeLive(c)
	}
}

// With T every allocation and free is printed, with the line that made it.
func TestDebugTrace(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = w
	c := open(t, nil, Config{Name: "traced", Size: 64, Debug: "T"})
	c.Free(take(t, c, 1)[0])
	os.Stderr = before
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); strings.Count(s, "TRACE traced alloc 0x") != 1 || strings.Count(s, "TRACE traced free 0x") != 1 || strings.Contains(s, "(*Cache)") {
		t.Errorf("printed:\n%s", s)
	}
	if f := c.debug().layout.Flags; f != debug.Trace {
		t.Errorf("flags %v", f)
	}
}

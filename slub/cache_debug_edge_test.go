package slub

import (
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// debugBuckets returns Buckets that are debug caches, and what they report. Their arena must be
// empty when the test ends.
func debugBuckets(t *testing.T, cfg BucketsConfig) (b *Buckets, reports *[]*hooks.Report) {
	t.Helper()
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	withoutSamples(t) // the tests write to free objects
	reports = new([]*hooks.Report)
	cfg.Hooks.Report = func(r *hooks.Report) { *reports = append(*reports, r) }
	b, err := NewBuckets(newArena(t, arena.Config{}), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return b, reports
}

func mustMalloc(t *testing.T, b *Buckets, n int) unsafe.Pointer {
	t.Helper()
	p, err := b.Malloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// panics calls f, and reports whether it panics with a report.
func panics(f func()) (did bool) {
	defer func() {
		var r *hooks.Report
		err, ok := recover().(error)
		did = ok && errors.As(err, &r)
	}()
	f()
	return false
}

// Validate leaves a slab alone that is being made: its padding may not be written yet.
func TestDebugValidateWhileASlabIsMade(t *testing.T) {
	if hidesBytes {
		t.Skip("Z and P do nothing with the address sanitizer")
	}
	var c *Cache
	looked := 0
	cfg := Config{Size: 1000, Debug: "P"}
	cfg.Hooks.NewSlab = func(s hooks.Slab) {
		_, to := c.debug().layout.Tail(s.Addr, uintptr(s.Bytes), uintptr(s.Objects))
		last := mem.At[byte](to - 1)
		was := *last
		*last = 0 // as before the slab's bytes are written
		if err := c.Validate(); err != nil {
			t.Errorf("%v", err)
		}
		*last = was
		looked++
	}
	c = open(t, nil, cfg)
	c.Free(take(t, c, 1)[0])
	if looked == 0 {
		t.Error("no slab was made")
	}
	same(t, "Validate", c.Validate(), nil)
}

// A report that an earlier operation has left is made by one that loses no object by it. Here every
// report panics.
func TestDebugReportsLoseNoObject(t *testing.T) {
	b, reports := debugBuckets(t, BucketsConfig{Debug: "FZ", DebugAction: DebugPanic})
	inUse := func() (n uint64) {
		for _, c := range b.Caches() {
			n += c.Stats().InUse
		}
		return n
	}
	for name, malloc := range map[string]func() (unsafe.Pointer, error){
		"Malloc":        func() (unsafe.Pointer, error) { return b.Malloc(10) },
		"MallocZero":    func() (unsafe.Pointer, error) { return b.MallocZero(10) },
		"MallocAligned": func() (unsafe.Pointer, error) { return b.MallocAligned(10, 16) },
		"MallocContext": func() (unsafe.Pointer, error) { return b.MallocContext(t.Context(), 10) },
		"MallocBulk": func() (unsafe.Pointer, error) {
			var p [1]unsafe.Pointer
			err := b.MallocBulk(10, p[:])
			return p[0], err
		},
		"Bytes": func() (unsafe.Pointer, error) {
			s, err := b.Bytes(10)
			return unsafe.Pointer(unsafe.SliceData(s)), err
		},
		"ReallocBytes": func() (unsafe.Pointer, error) {
			s, err := b.ReallocBytes(nil, 10)
			return unsafe.Pointer(unsafe.SliceData(s)), err
		},
	} {
		*reports = nil
		ps := []unsafe.Pointer{mustMalloc(t, b, 10), mustMalloc(t, b, 10)}
		for _, p := range ps {
			*at(p, 10) = 1
		}
		if !panics(func() { b.FreeBulk(ps) }) {
			t.Fatal("FreeBulk has not panicked")
		}
		var p unsafe.Pointer
		panics(func() { p, _ = malloc() })
		panics(func() { b.Free(p) })
		if n := inUse(); n != 0 || len(*reports) != 2 {
			t.Fatalf("%s: %d objects in use; %d reports", name, n, len(*reports))
		}
	}
	// A Realloc leaves p as it was.
	for _, n := range []int{12, 1000} {
		*reports = nil
		p := mustMalloc(t, b, 10)
		*at(p, 10) = 1
		if !panics(func() { _, _ = b.Realloc(p, n) }) || inUse() != 1 || len(*reports) != 1 {
			t.Fatalf("Realloc to %d: %d objects in use; reports %v", n, inUse(), *reports)
		}
		if b.Free(p); inUse() != 0 || len(*reports) != 1 {
			t.Fatalf("Realloc to %d, Free: %d objects in use; reports %v", n, inUse(), *reports)
		}
	}
}

// Size of an object that is free is reported, and changes none of its bytes.
func TestDebugSizeOfAFreeObject(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	b, reports := debugBuckets(t, BucketsConfig{Debug: "FZP"})
	p := mustMalloc(t, b, 10)
	c := b.cacheOf(p)
	b.Free(p)
	n := b.Size(p)
	if n != 0 || len(*reports) != 1 || (*reports)[0].Kind != hooks.DoubleFree {
		t.Errorf("Size is %d; reports %v", n, *reports)
	}
	c.limitDebug(p, 5) // as of a Size that has begun before the free
	if err := c.Validate(); err != nil {
		t.Errorf("%v", err)
	}
}

// A Free hook may write to all bytes of the object that it gets. What its user has overwritten
// before is reported even so.
func TestDebugFreeHookHasTheWholeObject(t *testing.T) {
	keep := false
	cfg := BucketsConfig{Debug: "FZ"}
	cfg.Hooks.Free = func(o hooks.Object) bool {
		paint(mem.Ptr(o.Addr), uintptr(o.Size), 7)
		return keep
	}
	b, reports := debugBuckets(t, cfg)
	for name, free := range map[string]func(p unsafe.Pointer){
		"Free": b.Free, "FreeRCU": b.FreeRCU, "FreeDeferred": b.FreeDeferred,
		"FreeBulk": func(p unsafe.Pointer) { b.FreeBulk([]unsafe.Pointer{p}) },
	} {
		for _, keep = range []bool{false, true} {
			for _, overrun := range []int{0, 1} {
				*reports = nil
				p := mustMalloc(t, b, 10)
				if overrun > 0 {
					*at(p, 10) = 1
				}
				free(p)
				same(t, "Barrier", b.Barrier(t.Context()), nil)
				if keep {
					keep = false
					free(p)
					same(t, "Barrier", b.Barrier(t.Context()), nil)
					keep = true
				}
				if len(*reports) != overrun {
					t.Errorf("%s, kept %t, %d bytes overwritten: %v", name, keep, overrun, *reports)
				}
			}
		}
	}
}

// If a report of Validate or Close doesn't return, the next operation makes the others.
func TestDebugValidateLosesNoReport(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	for _, end := range []string{"Free", "Validate", "Close"} {
		c := openRecorder(t, nil, Config{Size: 64, Debug: "Z", DebugAction: DebugPanic})
		ps := take(t, c.Cache, 3)
		freeAll(c.Cache, ps)
		for _, p := range ps {
			*at(p, 64) = 1
		}
		first := func() { _ = c.Validate() }
		if end == "Close" {
			first = func() { _ = c.Close() }
		}
		if !panics(first) || len(c.Reports) != 1 {
			t.Fatalf("%s: %d reports", end, len(c.Reports))
		}
		for range 2 {
			panics(func() {
				switch end {
				case "Free":
					c.Free(take(t, c.Cache, 1)[0])
				case "Validate":
					_ = c.Validate()
					c.Free(take(t, c.Cache, 1)[0])
				case "Close":
					_ = c.Close()
				}
			})
		}
		if len(c.Reports) != 3 {
			t.Errorf("%s: %d reports of 3", end, len(c.Reports))
		}
	}
}

// Buckets whose Close only reports what was overwritten are closed, as a cache is.
func TestDebugCloseOfBuckets(t *testing.T) {
	b, reports := debugBuckets(t, BucketsConfig{Debug: "Z"})
	p := mustMalloc(t, b, 64)
	b.Free(p)
	*at(p, 64) = 1
	err := b.Close()
	var r *hooks.Report
	if !errors.As(err, &r) || errors.Is(err, ErrBusy) || len(*reports) != 1 {
		t.Errorf("Close: %v; reports %v", err, *reports)
	}
	if b.reclaimer != nil {
		t.Error("the arena still asks the Buckets for memory")
	}
	same(t, "Close again", b.Close(), nil)
}

// What has tuned a cache goes on without an error if only the environment makes it a debug cache.
func TestDebugTuning(t *testing.T) {
	setDebug(t, "F", 0)
	for _, c := range []struct {
		cfg  Config
		want error
	}{
		{Config{Size: 64}, nil},
		{Config{Size: 64, Flags: NoSheaves}, ErrConfig},
		{Config{Size: 64, Debug: "F"}, ErrConfig},
	} {
		cache := open(t, nil, c.cfg)
		same(t, "SetSheafCapacity", cache.SetSheafCapacity(8), c.want)
		same(t, "SetBarnLimits", cache.SetBarnLimits(2, None), c.want)
		same(t, "SetSheafCapacity of -1", cache.SetSheafCapacity(-1), ErrConfig)
		same(t, "Close", cache.Close(), nil)
		if c.want == nil {
			same(t, "SetSheafCapacity after Close", cache.SetSheafCapacity(8), ErrClosed)
			same(t, "SetBarnLimits after Close", cache.SetBarnLimits(2, None), ErrClosed)
		}
	}
}

// Free objects that a cut has taken out of their slab's chain are no leak of the program's.
func TestDebugLostObjects(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if hidesBytes {
		t.Skip("the address sanitizer finds the write itself")
	}
	c := openRecorder(t, nil, Config{Size: 64, Debug: "P"})
	ps := take(t, c.Cache, 3)
	freeAll(c.Cache, ps[:2])
	*at(ps[1], int(c.layout.fp)+4) ^= 0x12
	if err := c.Validate(); err == nil {
		t.Fatal("Validate has found nothing")
	}
	err := c.Close()
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "1 object of 64 bytes:") || !strings.Contains(err.Error(), "1 more object was lost when a chain was cut") {
		t.Errorf("with one in use: %v", err)
	}
	c.Free(ps[2])
	err = c.Close()
	if !errors.Is(err, ErrBusy) || strings.Contains(err.Error(), "object of 64 bytes") || !strings.Contains(err.Error(), "1 object was lost when a chain was cut") {
		t.Errorf("with none in use: %v", err)
	}
	c.slabs.SetNext(uintptr(ps[1]), uintptr(ps[0]))
	if err := c.Validate(); err == nil {
		t.Error("Validate has not counted the object again")
	}
}

// With InitOnAlloc a Realloc that moves copies no byte of the red zone.
func TestDebugReallocCopiesNoRedZone(t *testing.T) {
	b, reports := debugBuckets(t, BucketsConfig{Debug: "FZ", Flags: InitOnAlloc})
	p, err := b.Realloc(mustMalloc(t, b, 10), 100)
	same(t, "Realloc", err, nil)
	if !zeroed(p, 100) {
		t.Errorf("% x", mem.Bytes(uintptr(p), 100))
	}
	if b.Free(p); len(*reports) != 0 {
		t.Errorf("%v", *reports)
	}
}

// SLUBD_HARDENED clears what is no debug cache, although SLUBD_DEBUG has the size classes.
func TestDebugAndHardened(t *testing.T) {
	setDebug(t, "FZPU", 0)
	before := hardenAll
	t.Cleanup(func() { hardenAll = before })
	hardenAll = true
	b, err := NewBuckets(newArena(t, arena.Config{}), BucketsConfig{})
	same(t, "NewBuckets", err, nil)
	if b.config.Flags&InitOnFree == 0 || b.caches[0].debug() == nil || b.caches[0].config.Flags&InitOnFree != 0 {
		t.Errorf("flags %#x, of a class %#x", b.config.Flags, b.caches[0].config.Flags)
	}
	same(t, "Close", b.Close(), nil)
}

// A Realloc that moves loses neither object if a Free hook panics, in whatever Buckets.
func TestReallocWithAPanickingHook(t *testing.T) {
	for _, letters := range []string{"", "FU"} {
		panicking := true
		cfg := BucketsConfig{Debug: letters}
		cfg.Hooks.Free = func(hooks.Object) bool {
			if panicking {
				panicking = false
				panic("the hook's")
			}
			return false
		}
		b, err := NewBuckets(newArena(t, arena.Config{}), cfg)
		same(t, "NewBuckets", err, nil)
		p := mustMalloc(t, b, 10)
		apart(func() { _, _ = b.Realloc(p, 1000) })
		if panicking {
			t.Error("the hook was not called")
		}
		same(t, "Close", b.Close(), nil)
	}
}

package slub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// What was asked for is the user's, however it was asked for, and the byte behind it is not. One
// that asks for the room gets all of it. The object begins with a page, and zeroes are zeroes.
func TestDebugLargeMalloc(t *testing.T) {
	small := []int{maxClass + 1, 300_001}
	large := append(small, 1<<20-1, maxRun-100, 5<<20)
	useLargeBuckets(t, "FZPU", 0, small)
	useLargeBuckets(t, "FZPU", InitOnFree, small)
	useLargeBuckets(t, "FZ", 0, large)
	useLargeBuckets(t, "FZ", InitOnAlloc, large)
}

func useLargeBuckets(t *testing.T, letters string, flags Flags, sizes []int) {
	t.Helper()
	b, reports := debugBuckets(t, BucketsConfig{Debug: letters, Flags: flags})
	account, err := b.NewAccount(AccountConfig{Name: "a", Limit: 1 << 30})
	same(t, "NewAccount", err, nil)
	must := func(p unsafe.Pointer, err error) unsafe.Pointer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	bulk := make([]unsafe.Pointer, 3)
	for _, n := range sizes {
		for name, malloc := range map[string]func() unsafe.Pointer{
			"Malloc":         func() unsafe.Pointer { return must(b.Malloc(n)) },
			"MallocZero":     func() unsafe.Pointer { return must(b.MallocZero(n)) },
			"MallocAligned":  func() unsafe.Pointer { return must(b.MallocAligned(n, 4096)) },
			"MallocContext":  func() unsafe.Pointer { return must(b.MallocContext(t.Context(), n)) },
			"MallocNode":     func() unsafe.Pointer { return must(b.MallocNode(n, b.arena.Topology().Nodes()[0])) },
			"MallocNode any": func() unsafe.Pointer { return must(b.MallocNode(n, numa.NoNode)) },
			"Account":        func() unsafe.Pointer { return must(account.Malloc(n)) },
			"Account zero":   func() unsafe.Pointer { return must(account.MallocZero(n)) },
			"MallocBulk": func() unsafe.Pointer {
				same(t, "MallocBulk", b.MallocBulk(n, bulk), nil)
				b.FreeBulk(bulk[:2])
				return bulk[2]
			},
			"Account Realloc": func() unsafe.Pointer {
				return must(account.Realloc(must(account.Malloc(n/3)), n))
			},
			"Realloc":      func() unsafe.Pointer { return must(b.Realloc(must(b.Malloc(n/3)), n)) },
			"Realloc here": func() unsafe.Pointer { return must(b.Realloc(must(b.Malloc(n-1)), n)) },
			"ReallocZero":  func() unsafe.Pointer { return must(b.ReallocZero(nil, 0, n)) },
			"NewSlice": func() unsafe.Pointer {
				s, err := b.NewSlice(n)
				return must(mem.Ptr(s.addr), err)
			},
		} {
			what := fmt.Sprintf("%s %v, %s(%d)", letters, flags, name, n)
			p := malloc()
			zeroes := strings.Contains(name, "ero") || flags == InitOnAlloc && !strings.Contains(name, "Realloc")
			if uintptr(p)%mem.PageSize != 0 || zeroes && unlike(p, n, 0) >= 0 {
				t.Errorf("%s: %p, byte %d is not zero", what, p, unlike(p, n, 0))
			}
			fill(p, n, 1)
			if b.Free(p); len(*reports) != 0 {
				t.Fatalf("%s: %v", what, (*reports)[0])
			}
			p = malloc()
			room := b.held(p)
			if room == n {
				b.Free(p)
				continue
			}
			*at(p, n) ^= 0xff
			b.Free(p)
			if len(*reports) != 1 || (*reports)[0].Overwrite.Part != "kmalloc Redzone" || (*reports)[0].Overwrite.First != uintptr(p)+uintptr(n) {
				t.Fatalf("%s: reports %v", what, *reports)
			}
			*reports = nil
		}
		for name, bytes := range map[string]func() ([]byte, error){
			"Bytes":     func() ([]byte, error) { return b.Bytes(n) },
			"BytesZero": func() ([]byte, error) { return b.BytesZero(n) },
			"ReallocBytes": func() ([]byte, error) {
				s, err := b.Bytes(n - 1)
				same(t, "Bytes", err, nil)
				return b.ReallocBytes(s, n)
			},
		} {
			s, err := bytes()
			same(t, name, err, nil)
			s = append(s, make([]byte, cap(s)-n)...)
			fill(unsafe.Pointer(unsafe.SliceData(s)), len(s), 2)
			*at(unsafe.Pointer(unsafe.SliceData(s)), len(s)) ^= 1
			b.FreeBytes(s)
			if len(*reports) != 1 || (*reports)[0].Overwrite.Part != "Right Redzone" {
				t.Fatalf("%s of %d: %v", name, n, *reports)
			}
			*reports = nil
		}
		p := must(b.Malloc(n))
		fill(p, b.Size(p), 3)
		b.FreeRCU(p)
		p = must(b.Malloc(n))
		fill(p, b.Size(p), 3)
		b.FreeDeferred(p)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		if len(*reports) != 0 {
			t.Fatalf("all the room of %d bytes: %v", n, (*reports)[0])
		}
	}
	if used := account.Usage(); used != 0 {
		t.Errorf("%d bytes are charged", used)
	}
	account.Close()
	same(t, "Close", b.Close(), nil)
}

// Size and Realloc look at what becomes the user's before it does, and make the report.
func TestDebugLargeGrowth(t *testing.T) {
	for _, n := range []int{33 << 10, 300_000, 5<<20 + 1} {
		for name, grow := range map[string]func(*Buckets, unsafe.Pointer) unsafe.Pointer{
			"Size": func(b *Buckets, p unsafe.Pointer) unsafe.Pointer { b.Size(p); return p },
			"Realloc": func(b *Buckets, p unsafe.Pointer) unsafe.Pointer {
				q, err := b.Realloc(p, n+2)
				same(t, "Realloc", err, nil)
				return q
			},
			"Realloc elsewhere": func(b *Buckets, p unsafe.Pointer) unsafe.Pointer {
				q, err := b.Realloc(p, 2*n)
				same(t, "Realloc", err, nil)
				return q
			},
		} {
			b, reports := debugBuckets(t, BucketsConfig{Debug: "FZ", Flags: InitOnAlloc})
			p := mustMalloc(t, b, n)
			fill(p, n, 7)
			*at(p, n) = 1
			p = grow(b, p)
			if len(*reports) != 1 || (*reports)[0].Overwrite.Part != "kmalloc Redzone" {
				t.Errorf("%s of %d bytes: %v", name, n, *reports)
			}
			if got := unlike(p, n+1, 7); name != "Realloc elsewhere" && (got != n || *at(p, n) != 0) {
				t.Errorf("%s of %d bytes: byte %d differs, that behind is %#x", name, n, got, *at(p, n))
			}
			b.Free(p)
			same(t, "Close", b.Close(), nil)
		}
	}
}

// A write through a pointer to a freed object meets that object, not the one that was allocated
// next, and is reported with the call that freed it: when the object no longer waits, for whatever
// reason.
func TestDebugLargeWriteAfterFree(t *testing.T) {
	for _, n := range []int{33 << 10, 256 << 10, 1<<20 + 1, 5 << 20} {
		for name, end := range map[string]func(t *testing.T, b *Buckets){
			"others come": func(t *testing.T, b *Buckets) {
				for b.large.debug.waits(b.large.debug.queue[0]) && b.large.debug.bytes+uintptr(n) <= b.large.debug.limit {
					b.Free(mustMalloc(t, b, n))
				}
				b.Free(mustMalloc(t, b, n))
			},
			"Shrink":   func(_ *testing.T, b *Buckets) { b.Shrink() },
			"Validate": func(_ *testing.T, b *Buckets) { _ = b.Validate() },
			"Close":    func(_ *testing.T, b *Buckets) { _ = b.Close() },
			"memory is short": func(t *testing.T, b *Buckets) {
				if b.giveBack() == 0 {
					t.Error("nothing was given back")
				}
				b.Free(mustMalloc(t, b, n))
			},
		} {
			b, reports := debugBuckets(t, BucketsConfig{Debug: "FPU"})
			b.large.debug.limit = 6 << 20
			p := mustMalloc(t, b, n)
			b.Free(p)
			if q := mustMalloc(t, b, n); q == p {
				t.Fatalf("%d bytes: the next allocation has what was just freed", n)
			} else {
				*at(p, n/2) = 0x12
				b.Free(q)
			}
			end(t, b)
			if len(*reports) != 1 || (*reports)[0].Kind != hooks.WriteAfterFree || (*reports)[0].Addr != uintptr(p) ||
				!strings.Contains(callSites((*reports)[0].Freed), "TestDebugLargeWriteAfterFree") {
				t.Errorf("%d bytes, %s: %v, want a write to %p", n, name, *reports, p)
			}
			same(t, "Close", b.Close(), nil)
		}
	}
}

// Objects that wait leave in the order in which they came, and no more bytes wait than the bound
// says. Nothing of them is in use, live, or allocated; their pages are charged.
func TestDebugLargeWaits(t *testing.T) {
	g, err := NewGroup(GroupConfig{Name: "g"})
	same(t, "NewGroup", err, nil)
	b := openBuckets(t, nil, BucketsConfig{Debug: "FZ", Group: g})
	d := b.large.debug
	d.limit = 1 << 20
	var freed []uintptr
	for i := range 20 {
		p := mustMalloc(t, b, 300_000)
		freed = append(freed, uintptr(p))
		switch i % 3 {
		case 0:
			b.Free(p)
		case 1:
			b.FreeRCU(p)
		case 2:
			b.FreeDeferred(p)
		}
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		var waiting []uintptr
		for _, l := range d.queue {
			waiting = append(waiting, l.addr)
		}
		want := freed[max(0, len(freed)-int(d.limit/d.queue[0].bytes)):]
		if !slices.Equal(waiting, want) {
			t.Fatalf("%x wait, want %x", waiting, want)
		}
		if s := b.Stats(); s.Objects != 0 || s.Bytes != 0 {
			t.Errorf("%d objects of %d bytes are in use", s.Objects, s.Bytes)
		}
		for o := range b.Live() {
			t.Errorf("%#x is live", o.Addr)
		}
	}
	b.Free(mustMalloc(t, b, 2<<20)) // more than may wait
	if used := g.Stats().Bytes; used < int64(d.bytes) {
		t.Errorf("%d bytes wait, and %d are charged", d.bytes, used)
	}
	if b.Shrink(); len(d.queue) != 0 || len(d.objs) != 0 || d.bytes != 0 {
		t.Errorf("%d objects of %d bytes wait, %d are known", len(d.queue), d.bytes, len(d.objs))
	}
	same(t, "Close", b.Close(), nil)
	if used := g.Stats().Bytes; used != 0 {
		t.Errorf("%d bytes are charged", used)
	}
	same(t, "Close of the group", g.Close(), nil)
}

// What waits does not make an allocation fail, neither of the Buckets nor of others.
func TestDebugLargeWaitsWhileMemoryIsShort(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 16 << 20})
	b := openBuckets(t, a, BucketsConfig{Debug: "FZPU"})
	other := open(t, a, Config{Size: 1024})
	for i := range 40 {
		b.Free(mustMalloc(t, b, 3<<20))
		if i%10 == 9 {
			freeAll(other, take(t, other, 8<<10))
			other.Shrink()
		}
	}
}

// A second free of an object that waits is reported, with the calls, however it is made, and so is
// its Size.
func TestDebugLargeFreedTwice(t *testing.T) {
	for _, n := range []int{100_000, 5 << 20} {
		for name, again := range map[string]func(*Buckets, unsafe.Pointer){
			"Free":         (*Buckets).Free,
			"FreeRCU":      (*Buckets).FreeRCU,
			"FreeDeferred": (*Buckets).FreeDeferred,
			"FreeBulk":     func(b *Buckets, p unsafe.Pointer) { b.FreeBulk([]unsafe.Pointer{p}) },
			"FreeBytes":    func(b *Buckets, p unsafe.Pointer) { b.FreeBytes(mem.Bytes(uintptr(p), uintptr(n))) },
			"Size":         func(b *Buckets, p unsafe.Pointer) { b.Size(p) },
			"Realloc": func(b *Buckets, p unsafe.Pointer) {
				_, err := b.Realloc(p, n)
				same(t, "Realloc", err, ErrForeign)
			},
		} {
			b, reports := debugBuckets(t, BucketsConfig{Name: "twice", Debug: "U"})
			p := mustMalloc(t, b, n)
			b.Free(p)
			again(b, p)
			if len(*reports) != 1 || (*reports)[0].Kind != hooks.DoubleFree || (*reports)[0].Addr != uintptr(p) {
				t.Fatalf("%s of %d bytes: %v", name, n, *reports)
			}
			r := (*reports)[0]
			for _, text := range []string{"BUG twice (debug U): double free", "Allocated on CPU ", "Freed on CPU ", "slub.mustMalloc", "slub.TestDebugLargeFreedTwice"} {
				if !strings.Contains(r.History+callSites(r.Allocated)+callSites(r.Freed), text) {
					t.Errorf("%s: no %q in\n%s", name, text, r.History)
				}
			}
			same(t, "Close", b.Close(), nil)
		}
	}
}

// Of the pages beside an object none is the object: an address there has no owner, and to free it
// is refused. Close looks at an object in use, and lets none wait that is freed afterwards.
func TestDebugLargeBeside(t *testing.T) {
	for _, n := range []int{100_000, 5 << 20} {
		b, reports := debugBuckets(t, BucketsConfig{Debug: "FZPU"})
		p := mustMalloc(t, b, n)
		room := b.Size(p)
		if o, ok := Owner(unsafe.Add(p, room-1)); !ok || o.Addr != uintptr(p) || o.Size != int64(room) || o.Buckets != b {
			t.Errorf("the last byte of %d is of %v, %t", room, o, ok)
		}
		live := 0
		for o := range b.Live() {
			if live++; o.Addr != uintptr(p) || o.Size != int64(room) {
				t.Errorf("%#x with %d bytes is live", o.Addr, o.Size)
			}
		}
		if live != 1 {
			t.Errorf("%d objects are live", live)
		}
		for _, off := range []int{-mem.PageSize, -1, room, room + mem.PageSize - 1} {
			q := unsafe.Add(p, off)
			if o, ok := Owner(q); ok {
				t.Errorf("%+d of %d bytes: %v", off, n, o)
			}
			*reports = nil
			if b.Free(q); len(*reports) != 1 || (*reports)[0].Kind == hooks.DoubleFree {
				t.Errorf("%+d of %d bytes: %v", off, n, *reports)
			}
		}
		*at(p, room) ^= 1
		*reports = nil
		err := b.Close()
		if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), hexOf(p)) || !strings.Contains(err.Error(), "Right Redzone overwritten") {
			t.Errorf("Close: %v, want %p", err, p)
		}
		if b.Free(p); len(*reports) != 1 || len(b.large.debug.queue) != 0 {
			t.Errorf("after Close %d objects wait, reports: %v", len(b.large.debug.queue), *reports)
		}
		same(t, "Close", b.Close(), nil)
	}
}

// An object whose Alloc hook doesn't return waits as if it had been freed, and one that a Free hook
// keeps stays in use.
func TestDebugLargeHooks(t *testing.T) {
	panicking, keep := true, true
	cfg := BucketsConfig{Debug: "FZPU"}
	var lost uintptr
	cfg.Hooks.Alloc = func(o hooks.Object) {
		if panicking {
			lost = o.Addr
			panic("the hook's")
		}
	}
	cfg.Hooks.Free = func(hooks.Object) bool { return keep }
	b, reports := debugBuckets(t, cfg)
	apart(func() { _, _ = b.Malloc(100_000) })
	if n := len(b.large.debug.queue); n != 1 || b.large.inUse.Load() != 0 {
		t.Errorf("%d objects wait, %d are in use", n, b.large.inUse.Load())
	}
	if b.Free(mem.Ptr(lost)); len(*reports) != 1 || (*reports)[0].Kind != hooks.DoubleFree {
		t.Errorf("the object that nothing got is freed: %v", *reports)
	}
	*reports = nil
	panicking = false
	p := mustMalloc(t, b, 100_000)
	b.Free(p)
	fill(p, b.Size(p), 1)
	keep = false
	if b.Free(p); len(*reports) != 0 || len(b.large.debug.queue) != 2 {
		t.Errorf("%v, %d objects wait", *reports, len(b.large.debug.queue))
	}
	same(t, "Close", b.Close(), nil)
}

// All bytes of an object are its hooks', those that the user has not asked for, too. What the user
// has written there is found before the Free hook is called.
func TestDebugLargeHooksWrite(t *testing.T) {
	wipe := func(o hooks.Object) { clear(mem.Bytes(o.Addr, uintptr(o.Size))) }
	for name, h := range map[string]hooks.Hooks{
		"Alloc": {Alloc: wipe},
		"Free":  {Free: func(o hooks.Object) bool { wipe(o); return false }},
	} {
		b, reports := debugBuckets(t, BucketsConfig{Debug: "FZPU", Hooks: h})
		for _, n := range []int{100, 100_000, 5<<20 + 1} {
			b.Free(mustMalloc(t, b, n))
			if len(*reports) != 0 {
				t.Fatalf("%s hook, %d bytes: %v", name, n, *reports)
			}
			p := mustMalloc(t, b, n)
			*at(p, n) ^= 1
			if b.Free(p); len(*reports) != 1 || (*reports)[0].Kind != hooks.RedZoneOverwritten {
				t.Errorf("%s hook, a write behind %d bytes: %v", name, n, *reports)
			}
			*reports = nil
		}
	}
}

// DebugAction says what follows a report, also one about a pointer that is refused.
func TestDebugLargeAction(t *testing.T) {
	b, reports := debugBuckets(t, BucketsConfig{Debug: "FZ", DebugAction: DebugPanic})
	p := mustMalloc(t, b, 100_000)
	*at(p, 100_000) ^= 1
	if !panics(func() { b.Free(p) }) || len(*reports) != 1 {
		t.Errorf("the free of an overrun object: %v", *reports)
	}
	if !panics(func() { b.Free(p) }) || len(*reports) != 2 || (*reports)[1].Kind != hooks.DoubleFree {
		t.Errorf("the second free: %v", *reports)
	}
}

// The letters of NAME-large are those of all that is larger than 32 KiB.
func TestDebugLargeByName(t *testing.T) {
	for letters, want := range map[string]bool{"FZPU": true, "-": false, "F,other-large": false, "F,big-64": false, "F,big-*": true, "F,big-large": true} {
		b := openBuckets(t, nil, BucketsConfig{Name: "big", Debug: letters})
		p := malloc(t, b, 40_000)
		if (b.large.debug != nil) != want || b.cacheOf(p) == nil != want {
			t.Errorf("%s: debug %t, a page class %t, want %t", letters, b.large.debug != nil, b.cacheOf(p) != nil, want)
		}
		b.Free(p)
	}
	same(t, "Debug of hardened Buckets", BucketsConfig{Debug: "P,malloc-large", Hardened: On}.Validate(), ErrConfig)
}

// Validate, Shrink and Live may run while objects of all kinds are allocated, moved and freed:
// nothing is found that no mistake has made, and nothing is lost.
func TestDebugLargeStorm(t *testing.T) {
	var reports atomic.Int64
	cfg := BucketsConfig{Debug: "FZPU"}
	cfg.Hooks.Report = func(r *hooks.Report) {
		reports.Add(1)
		t.Error(r)
	}
	// There is room for all that waits for grace periods.
	b := openBuckets(t, newArena(t, arena.Config{Span: 1 << 30}), cfg)
	b.large.debug.limit = 2 << 20
	turns := 150
	if sanitized {
		turns = 25
	}
	var work, watch sync.WaitGroup
	var done atomic.Bool
	for g := range 4 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range turns {
				n := maxClass + 1 + random.IntN(300_000)
				if random.IntN(50) == 0 {
					n = maxRun + random.IntN(1<<20)
				}
				p, err := b.Malloc(n)
				if err != nil {
					t.Errorf("Malloc(%d): %v", n, err)
					return
				}
				*at(p, 0), *at(p, n-1) = 1, 2
				if random.IntN(3) == 0 {
					p, err = b.Realloc(p, n+random.IntN(n))
					same(t, "Realloc", err, nil)
				}
				switch random.IntN(3) {
				case 0:
					b.Free(p)
				case 1:
					b.FreeRCU(p)
				case 2:
					b.FreeDeferred(p)
				}
			}
		})
	}
	for _, look := range []func(){func() { b.Shrink() }, func() { same(t, "Validate", b.Validate(), nil) }, func() {
		for o := range b.Live() {
			_, _ = Owner(mem.Ptr(o.Addr))
		}
	}} {
		watch.Go(func() {
			for !done.Load() {
				look()
			}
		})
	}
	work.Wait()
	done.Store(true)
	watch.Wait()
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	if s := b.Stats(); reports.Load() != 0 || s.Objects != 0 {
		t.Errorf("%d objects are in use, %d reports", s.Objects, reports.Load())
	}
	same(t, "Close", b.Close(), nil)
}

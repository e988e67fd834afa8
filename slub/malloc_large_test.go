package slub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
)

// kinds has one size for each kind of object.
var kinds = map[string]int{"class": 100, "page class": 100_000, "run": 1_200_000, "mapping": maxRun + 1}

// FreeRCU waits for readers with every kind of object, and runs the destructor once.
func TestBucketsFreeRCU(t *testing.T) {
	for kind, n := range kinds {
		t.Run(kind, func(t *testing.T) {
			var died atomic.Int64
			domain := new(rcu.Domain)
			b := openBuckets(t, nil, BucketsConfig{Domain: domain, RCUDtor: func(p unsafe.Pointer) {
				if unlike(p, n, 0x33) >= 0 {
					t.Error("the destructor sees another content")
				}
				died.Add(1)
			}})
			p := malloc(t, b, n)
			fill(p, n, 0x33)
			r := domain.Register("reader")
			b.FreeRCU(p)
			for range min(100, 16*mib/n) {
				if q := malloc(t, b, n); q == p {
					t.Fatal("handed out while a reader may hold it")
				} else {
					defer b.Free(q)
				}
			}
			if died.Load() != 0 || unlike(p, n, 0x33) >= 0 {
				t.Error("destroyed while a reader may hold it")
			}
			r.Offline()
			if err := b.Barrier(context.Background()); err != nil || died.Load() != 1 {
				t.Errorf("after the grace period the destructor has run %d times: %v", died.Load(), err)
			}
			r.Close()
		})
	}
}

// Buckets report a pointer that is not theirs, by its kind, and leave its memory alone.
func TestBucketsRefuse(t *testing.T) {
	a := newArena(t, arena.Config{})
	var reports []*hooks.Report
	cfg := BucketsConfig{Name: "victim", Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}}
	b := openBuckets(t, a, cfg)
	other := openBuckets(t, a, BucketsConfig{Name: "other"})
	plain := open(t, a, Config{Name: "plain", Size: 100})
	ours := map[string]unsafe.Pointer{}
	theirs := map[string]unsafe.Pointer{}
	for kind, n := range kinds {
		ours[kind], theirs[kind] = malloc(t, b, n), malloc(t, other, n)
		defer b.Free(ours[kind])
		defer other.Free(theirs[kind])
	}
	foreign := take(t, plain, 1)[0]
	defer plain.Free(foreign)
	gone := malloc(t, b, 1_200_000)
	b.Free(gone)
	b.Free(gone)
	if len(reports) != 1 || reports[0].Kind != hooks.ForeignPointer {
		t.Errorf("a run that is freed twice: %v", reports)
	}
	reports, gone = nil, malloc(t, b, 2*maxRun)
	b.Free(gone)
	b.Free(gone)
	if len(reports) != 1 || reports[0].Kind != hooks.ForeignPointer {
		t.Errorf("a mapping that is freed twice: %v", reports)
	}
	var word uint64
	for name, c := range map[string]struct {
		p     unsafe.Pointer
		kind  hooks.Kind
		owner string
	}{
		"inside a class object":    {unsafe.Add(ours["class"], 8), hooks.MisalignedPointer, ""},
		"inside a run":             {unsafe.Add(ours["run"], mem.PageSize), hooks.MisalignedPointer, ""},
		"inside a mapping":         {unsafe.Add(ours["mapping"], mem.PageSize), hooks.MisalignedPointer, ""},
		"other buckets' object":    {theirs["class"], hooks.WrongCache, "other-112"},
		"other buckets' run":       {theirs["run"], hooks.WrongCache, "other"},
		"other buckets' mapping":   {theirs["mapping"], hooks.WrongCache, "other"},
		"a cache's object":         {foreign, hooks.WrongCache, "plain"},
		"an address on Go's stack": {unsafe.Pointer(&word), hooks.ForeignPointer, ""},
	} {
		for way, try := range map[string]func(unsafe.Pointer){
			"Free": b.Free, "FreeRCU": b.FreeRCU,
			"Size": func(p unsafe.Pointer) {
				if b.Size(p) != 0 {
					t.Errorf("%s has a size", name)
				}
			},
			"Realloc": func(p unsafe.Pointer) {
				if q, err := b.Realloc(p, 10); q != nil || !errors.Is(err, ErrForeign) {
					t.Errorf("%s is reallocated", name)
				}
			},
		} {
			reports = nil
			try(c.p)
			if len(reports) != 1 || reports[0].Kind != c.kind || reports[0].Owner != c.owner || reports[0].Addr != uintptr(c.p) {
				t.Errorf("%s of %s: reports %v, want %v, owner %q", way, name, reports, c.kind, c.owner)
			}
		}
	}
}

func TestBucketsWithoutAnyMalloc(t *testing.T) {
	defer func() {
		if r, ok := recover().(*hooks.Report); !ok || r.Kind != hooks.ForeignPointer {
			t.Errorf("panics with %v", r)
		}
	}()
	word := new(uint64)
	new(Buckets).freeSlow(nil)
	new(Buckets).freeSlow(unsafe.Pointer(word))
}

// The functions of the package allocate from buckets of their own.
func TestMallocFunctions(t *testing.T) {
	for _, n := range kinds {
		p, err := Malloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = Realloc(p, 2*n); err != nil || Size(p) < 2*n {
			t.Fatalf("%d bytes: %v", Size(p), err)
		}
		Free(p)
		if p, err = MallocZero(n); err != nil || unlike(p, n, 0) >= 0 {
			t.Fatalf("zeroed: %v", err)
		}
		FreeRCU(p)
		s, err := Bytes(n)
		if err != nil || len(s) != n {
			t.Fatal(err)
		}
		FreeBytes(s)
	}
	b, err := DefaultBuckets()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Barrier(context.Background()); err != nil {
		t.Error(err)
	}
	if n := b.large.inUse.Load(); n != 0 {
		t.Errorf("%d large objects are left", n)
	}
}

func TestLargeLimit(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 16 * mib})
	b := openBuckets(t, a, BucketsConfig{})
	p := malloc(t, b, 10*mib)
	if _, err := b.Malloc(8 * mib); !errors.Is(err, ErrNoMemory) || !strings.Contains(err.Error(), "malloc") {
		t.Errorf("18 MiB with a limit of 16: %v", err)
	}
	b.Free(p)
	b.Free(malloc(t, b, 15*mib))
}

func TestLargeHooksAndInit(t *testing.T) {
	var seen, freed []hooks.Object
	keep := false
	b := openBuckets(t, nil, BucketsConfig{Flags: InitOnAlloc | InitOnFree, Hooks: hooks.Hooks{
		Alloc: func(o hooks.Object) {
			if unlike(mem.Ptr(o.Addr), int(o.Size), 0) >= 0 {
				t.Error("not zeroed before the hook")
			}
			seen = append(seen, o)
		},
		Free: func(o hooks.Object) bool { freed = append(freed, o); return keep },
	}})
	for kind, n := range kinds {
		if kind == "class" {
			continue
		}
		for range 2 { // the second may get what the first dirtied
			seen, freed = nil, nil
			p := malloc(t, b, n)
			fill(p, n, 1)
			b.Free(p)
			if len(seen) != 1 || len(freed) != 1 || seen[0] != freed[0] || seen[0].Addr != uintptr(p) ||
				seen[0].Size < int64(n) || !strings.HasPrefix(seen[0].Cache, "malloc-") {
				t.Errorf("%s: hooks saw %+v and %+v", kind, seen, freed)
			}
		}
		p := malloc(t, b, n)
		keep = true
		b.Free(p)
		if keep = false; b.Size(p) < n {
			t.Errorf("a %s that a hook keeps is gone", kind)
		}
		b.Free(p)
	}
}

func TestLargeInitOnAlloc(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{Flags: InitOnAlloc})
	p := malloc(t, b, 1_200_000)
	fill(p, 1_200_000, 1)
	b.Free(p)
	q := malloc(t, b, 1_200_000)
	if p != q || unlike(q, 1_200_000, 0) >= 0 {
		t.Errorf("a run at %p, used at %p before, is not zeroed", q, p)
	}
	b.Free(q)
}

// A run comes from the nearest node that has memory.
func TestLargeFallsBack(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2), Span: 8 * mib})
	b := openBuckets(t, a, BucketsConfig{Hardened: None})
	nodes := map[int]int{}
	for {
		p, err := b.Malloc(mib)
		if err != nil {
			same(t, "with all nodes full", err, ErrNoMemory)
			break
		}
		defer b.Free(p)
		nodes[a.NodeIndex(uintptr(p))]++
	}
	if nodes[0] == 0 || nodes[0] != nodes[1] {
		t.Errorf("objects per node: %v", nodes)
	}
}

func TestBucketsCloseReportsWhatIsOut(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{Name: "leaky"})
	var ps []unsafe.Pointer
	for _, n := range kinds {
		ps = append(ps, malloc(t, b, n))
	}
	err := b.Close()
	same(t, "close", err, ErrBusy)
	for _, want := range []string{"leaky-112", "1 object of 112 bytes", "2 objects larger than 32768 bytes"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q doesn't say %q", err, want)
		}
	}
	for _, p := range ps {
		if !strings.Contains(err.Error(), hexOf(p)) {
			t.Errorf("%q doesn't name %p", err, p)
		}
	}
	for _, n := range kinds {
		_, err := b.Malloc(n)
		same(t, "malloc after close", err, ErrClosed)
	}
	for _, p := range ps {
		b.Free(p)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestBucketsConfig(t *testing.T) {
	for name, cfg := range map[string]BucketsConfig{
		"partitions": {Partitions: 65}, "negative": {Partitions: -1}, "flags": {Flags: NoSheaves}, "name": {Name: "no blanks"},
	} {
		if _, err := NewBuckets(nil, cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A large object that is given to FreeRCU twice, or freed after it was given, is reported. Its
// bytes do not stay in the backlog.
func TestLargeGivenTwice(t *testing.T) {
	for kind, size := range map[string]int{"run": kinds["run"], "mapping": kinds["mapping"]} {
		for name, again := range map[string]func(*Buckets, unsafe.Pointer){"FreeRCU": (*Buckets).FreeRCUNoWait, "Free": (*Buckets).Free} {
			for _, memory := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, memory for a block: %t", kind, name, memory), func(t *testing.T) {
					var reports []*hooks.Report
					b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain),
						Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
					p := malloc(t, b, size)
					other := malloc(t, b, 2*size)
					r := register(t, b.config.Domain)
					restore := func() {}
					if !memory {
						restore = noMemory(t, 0)
					}
					b.FreeRCUNoWait(other)
					b.FreeRCUNoWait(p)
					if n := b.backlog.Stats().Bytes; n < int64(3*size) {
						t.Errorf("%d bytes are charged", n)
					}
					again(b, p)
					_ = r.Close()
					same(t, "Barrier", b.Barrier(context.Background()), nil)
					restore()
					if len(reports) != 1 || reports[0].Addr != uintptr(p) {
						t.Errorf("reports %v", reports)
					}
					if n, left := b.backlog.Stats().Bytes, b.freeQueue.Pending(); n != 0 || left != 0 {
						t.Errorf("%d bytes and %d objects wait", n, left)
					}
				})
			}
		}
	}
}

// Runs are at most an eighth larger than what was asked for, in whole pages, and take no more than
// that from the arena.
func TestLargeWastesAnEighth(t *testing.T) {
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, BucketsConfig{})
	for n := maxPageClass + 1; n <= 2*maxRun; n += 1 + n/37 {
		before := a.InUse()
		p := malloc(t, b, n)
		most := int(mem.AlignUp(uintptr(n), mem.PageSize))
		if n <= maxRun {
			most = max(most, n+n/8)
		}
		if size := b.Size(p); size < n || size > most || a.InUse()-before != int64(size) {
			t.Errorf("%d bytes have room for %d, want at most %d; the arena gave %d", n, size, most, a.InUse()-before)
		}
		b.Free(p)
	}
}

// MallocContext does not wait for what can't ever fit: of a large object that is its pages, with
// those beside it.
func TestMallocContextOfPagesThatCannotFit(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		debug string
		limit int64
		n     int
	}{{"-", mib + 64<<10, mib + 1}, {"FZ", 16 * mib, 16*mib - mem.PageSize}} {
		b := openBuckets(t, newArena(t, arena.Config{Limit: c.limit}), BucketsConfig{Debug: c.debug})
		if _, err := b.MallocContext(over, c.n); !errors.Is(err, ErrNoMemory) || errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes of %d, debug %s: %v", c.n, c.limit, c.debug, err)
		}
	}
}

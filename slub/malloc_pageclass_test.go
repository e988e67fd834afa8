package slub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/slab"
)

// Each number of bytes has the smallest page class that holds it, and the classes are whole pages,
// at most an eighth apart.
func TestPageClassOf(t *testing.T) {
	last := uintptr(maxClass)
	for class, size := range pageClassSizes {
		if size%mem.PageSize != 0 || (size-last)*8 > last {
			t.Errorf("class %d of %d bytes follows %d", class, size, last)
		}
		for _, n := range []uintptr{last + 1, (last + size) / 2, size} {
			if got := pageClassOf(n); got != class {
				t.Errorf("%d bytes are of class %d, want %d of %d bytes", n, got, class, size)
			}
		}
		last = size
	}
	if last != maxPageClass || len(pageClassSizes) != numPageClasses || len(Classes()) != numClasses+len(pageClassSizes) || !slices.IsSorted(Classes()) {
		t.Errorf("the largest of %d classes has %d bytes", len(Classes()), last)
	}
}

// A page class is made by the first Malloc of its size, once, and its objects take the pages of
// their class and no more, without a slab that is kept.
func TestPageClasses(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, BucketsConfig{Name: "pages", Partitions: 2})
	small := len(b.Caches())
	if small != 2*numClasses {
		t.Errorf("%d caches before the first large object", small)
	}
	for i, size := range pageClassSizes {
		before := a.InUse()
		p := malloc(t, b, int(size))
		c := b.cacheOf(p)
		if c == nil || b.Size(p) != int(size) || c.Buckets() != b || a.InUse()-before != int64(size)*int64(c.Stats().SheafCapacity) {
			t.Fatalf("%d bytes: size %d, %d bytes of the arena", size, b.Size(p), a.InUse()-before)
		}
		if got := b.pageClass(size); got != c || len(b.Caches()) != small+i+1 {
			t.Errorf("%d bytes have another cache now, of %d", size, len(b.Caches()))
		}
		if s := c.Stats(); int64(s.SheafCapacity)*s.Size > max(s.Size, 256<<10) || s.ObjectsPerSlab != 1 {
			t.Errorf("%d bytes: sheaves of %d, %d objects in a slab", size, s.SheafCapacity, s.ObjectsPerSlab)
		}
		b.Free(p)
	}
	b.Shrink()
	if used := a.InUse(); used != 0 {
		t.Errorf("%d bytes are in use after Shrink", used)
	}
}

// Goroutines that allocate a size for the first time at once get objects of one cache, and a Close
// that comes between leaves no cache that was made after it.
func TestPageClassMadeOnce(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	var wg sync.WaitGroup
	caches := make([]*Cache, 4)
	for i := range caches {
		wg.Go(func() { caches[i] = b.makePageClass(pageClassOf(50_000)) })
	}
	wg.Wait()
	for _, c := range caches {
		if c == nil || c != caches[0] {
			t.Errorf("caches %p and %p", c, caches[0])
		}
	}
	same(t, "Close", b.Close(), nil)
	if c := b.makePageClass(pageClassOf(100_000)); c != nil {
		t.Errorf("%q was made after Close", c.Name())
	}
	_, err := b.Malloc(100_000)
	same(t, "Malloc after Close", err, ErrClosed)
	_, err = b.Malloc(50_000)
	same(t, "Malloc after Close", err, ErrClosed)
}

// The first Malloc of a size does not wait for its cache, and neither do others while it is made:
// they get page runs.
func TestPageClassIsMadeAside(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	b.pages.mu.Lock() // stops the goroutine that makes the cache
	var runs []unsafe.Pointer
	for range 3 {
		p, err := b.Malloc(50_000)
		if err != nil || b.cacheOf(p) != nil {
			t.Errorf("%p of %v, %v", p, b.cacheOf(p), err)
		}
		runs = append(runs, p)
	}
	_, err := b.MallocNoWait(50_000)
	same(t, "MallocNoWait", err, ErrWouldBlock)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	same(t, "Close while the cache is made", b.CloseContext(ctx), context.Canceled)
	for _, n := range []int{100, 2 * mib} { // the Buckets are open as before
		p, err := b.Malloc(n)
		same(t, "Malloc", err, nil)
		runs = append(runs, p)
	}
	b.pages.mu.Unlock()
	within(t, "a cache for the size", func() bool { return b.pageClass(50_000) != nil })
	p, err := b.Malloc(50_000)
	if err != nil || b.cacheOf(p) == nil {
		t.Errorf("%p has no cache, %v", p, err)
	}
	b.FreeBulk(append(runs, p))
}

// A cache that could not be made is made by a later Malloc.
func TestPageClassIsMadeLater(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	name, class := b.config.Name, pageClassOf(50_000)
	b.pages.begun[class].Store(true) // as pageClass does
	b.config.Name = strings.Repeat("x", maxName)
	if c := b.makePageClass(class); c != nil {
		t.Fatalf("a cache is named %q", c.Name())
	}
	b.config.Name = name
	if b.pageClass(50_000) != nil {
		t.Error("another attempt at once")
	}
	within(t, "another attempt", func() bool { return b.pageClass(50_000) != nil })
}

// An object that is free, or waits for a grace period, is not reallocated.
func TestReallocOfFreedObject(t *testing.T) {
	var reports []*hooks.Report
	b := openBuckets(t, nil, BucketsConfig{Domain: new(rcu.Domain), Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	section := b.config.Domain.Enter()
	for kind, n := range kinds {
		if kind == "class" {
			continue
		}
		p := malloc(t, b, n)
		b.FreeRCUNoWait(p)
		reports = nil
		for _, n := range []int{n - 1, 10, n + n/2} {
			if q, err := b.Realloc(p, n); q != nil || !errors.Is(err, ErrForeign) {
				t.Errorf("a %s that waits was made %d bytes: %p, %v", kind, n, q, err)
			}
		}
		if len(reports) != 3 || reports[0].Kind != hooks.DoubleFree {
			t.Errorf("%s: reports %v", kind, reports)
		}
	}
	section.Exit()
	same(t, "Barrier", b.Barrier(t.Context()), nil)
}

// An object that is free is not reallocated, and not put aside in a reserve.
func TestFreedPageClassIsRefused(t *testing.T) {
	withoutSamples(t) // it frees objects twice
	var reports []*hooks.Report
	b := openBuckets(t, nil, BucketsConfig{Hooks: hooks.Hooks{Report: func(r *hooks.Report) { reports = append(reports, r) }}})
	p := malloc(t, b, 100_000)
	r, err := b.cacheOf(p).NewReserve(1)
	same(t, "NewReserve", err, nil)
	b.Free(p)
	for _, n := range []int{90_000, 10, 200_000} {
		if q, err := b.Realloc(p, n); q != nil || !errors.Is(err, ErrForeign) {
			t.Errorf("a freed object of 100,000 bytes made %d: %p, %v", n, q, err)
		}
	}
	q, err := r.take() // there is room in the reserve
	same(t, "take", err, nil)
	r.Free(p)
	r.Free(q)
	b.FreeBulk([]unsafe.Pointer{p, p})
	if len(reports) != 6 {
		t.Errorf("reports %v", reports)
	}
	for _, r := range reports {
		if r.Kind != hooks.DoubleFree || r.Addr != uintptr(p) {
			t.Error(r)
		}
	}
	r.Close()
}

// When a hook panics as a prefilled sheaf is returned, the objects that wait in FreeDeferred's list
// for their hooks are free, and a Free of one is reported.
func TestListedPageClassIsFree(t *testing.T) {
	calls := 0
	b := openBuckets(t, nil, BucketsConfig{Hooks: hooks.Hooks{
		Free: func(hooks.Object) bool {
			if calls++; calls == 1 {
				panic("hook")
			}
			return false
		},
		Report: func(r *hooks.Report) {},
	}})
	c := b.makePageClass(pageClassOf(64 << 10))
	lent := prefill(t, c, 3)
	objs := slices.Clone(lent.loan.Slots()[:lent.n])
	apart(lent.Return)
	for _, p := range objs {
		if c.claimOrReport(p, slab.Free) != 0 {
			t.Errorf("%p was claimed", p)
		}
	}
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	if n := b.Stats().Objects; n != 0 {
		t.Errorf("%d objects are in use", n)
	}
}

// The longest names of caches are those of page classes, unless there are partitions.
func TestNamesOfPageClasses(t *testing.T) {
	longest := strings.Repeat("x", maxName-len("-1048576"))
	b := openBuckets(t, nil, BucketsConfig{Name: longest})
	if c := b.makePageClass(pageClassOf(maxPageClass)); c == nil || c.Name() != longest+"-1048576" {
		t.Errorf("the largest class has the cache %v", c)
	}
	same(t, "a longer name", BucketsConfig{Name: longest + "x"}.Validate(), ErrConfig)
}

// Page classes do for FreeRCU, hooks' order aside, what other classes do: their objects wait for a
// grace period in sheaves, and are freed.
func TestPageClassAfterGrace(t *testing.T) {
	died := map[unsafe.Pointer]int{}
	var mu sync.Mutex
	b := openBuckets(t, nil, BucketsConfig{RCUDtor: func(p unsafe.Pointer) {
		mu.Lock()
		died[p]++
		mu.Unlock()
	}})
	for _, size := range pageClassSizes {
		b.FreeRCU(malloc(t, b, int(size)))
	}
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	n := 0
	for _, times := range died {
		n += times
	}
	if n != len(pageClassSizes) {
		t.Errorf("%d of %d objects destroyed", n, len(pageClassSizes))
	}
}

// MallocNoWait takes an object of a page class that is at hand.
func TestMallocNoWaitOfPageClass(t *testing.T) {
	stay(t)
	b := openBuckets(t, nil, BucketsConfig{})
	b.Free(malloc(t, b, 50_000))
	p, err := b.MallocNoWait(50_000)
	if err != nil || b.cacheOf(p) == nil {
		t.Errorf("%p has no cache, %v", p, err)
	}
	b.Free(p)
}

// A Realloc for which there is no memory leaves the object as it is. What FreeDeferred was given is
// free before an allocation fails.
func TestReallocWithoutMemory(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 8 * mib})
	b := openBuckets(t, a, BucketsConfig{})
	p := malloc(t, b, 50_000)
	fill(p, 50_000, 7)
	for _, n := range []int{8_380_000, 64 * mib} {
		if q, err := b.Realloc(p, n); q != nil || !errors.Is(err, ErrNoMemory) {
			t.Errorf("%d bytes: %p, %v", n, q, err)
		}
	}
	if i := unlike(p, 50_000, 7); i >= 0 {
		t.Errorf("byte %d has changed", i)
	}
	b.Free(p)
	b.FreeDeferred(malloc(t, b, 7*mib))
	b.Free(malloc(t, b, 7*mib))
}

package slub

import (
	"cmp"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
)

// The config switches hardened mode on and off, whatever the environment says, and refuses other
// values.
func TestHardenedConfig(t *testing.T) {
	before := hardenAll
	defer func() { hardenAll = before }()
	for _, env := range []bool{false, true} {
		hardenAll = env
		for configured, want := range map[int]bool{0: env, On: true, None: false} {
			c := open(t, nil, Config{Size: 64, Hardened: configured})
			if got := c.marks != nil && c.marks.hardened; got != want {
				t.Errorf("environment %t, config %d: hardened %t", env, configured, got)
			}
		}
		if Hardened() != env {
			t.Errorf("Hardened() is %t", !env)
		}
	}
	for _, wrong := range []int{2, -2} {
		same(t, "Config", Config{Size: 64, Hardened: wrong}.Validate(), ErrConfig)
		same(t, "BucketsConfig", BucketsConfig{Hardened: wrong}.Validate(), ErrConfig)
	}
}

// Everything that a cache can do works in a hardened one, and nothing is reported.
func TestHardenedIsSilent(t *testing.T) {
	for name, flags := range map[string]Flags{"sheaves": 0, "NoSheaves": NoSheaves, "InitOnAlloc": InitOnAlloc, "TypesafeByRCU": TypesafeByRCU} {
		for _, size := range []int64{8, 20, 64, 1000, 9000} {
			c := openRecorder(t, nil, Config{Name: name, Size: size, Flags: flags, Hardened: On})
			for round := range 6 {
				ps := take(t, c.Cache, 300)
				bulk := make([]unsafe.Pointer, 100)
				same(t, "AllocBulk", c.AllocBulk(bulk), nil)
				for _, p := range append(slices.Clone(ps), bulk...) {
					paint(p, uintptr(size), uint64(round+1))
				}
				freeAll(c.Cache, ps[:100])
				c.FreeBulk(bulk)
				for _, p := range ps[100:200] {
					c.FreeRCU(p)
				}
				for _, p := range ps[200:] {
					c.FreeDeferred(p)
				}
				same(t, "Barrier", c.Barrier(t.Context()), nil)
				if c.sheaves != nil {
					lent := prefill(t, c.Cache, 20)
					for range 10 {
						paint(lent.Alloc(), uintptr(size), 0xff)
					}
					lent.Return()
				}
				if round%2 == 0 {
					c.Shrink()
				}
			}
			if len(c.Reports) != 0 {
				t.Fatalf("%s, %d bytes: %v", name, size, c.Reports[0])
			}
			// What Prefilled.Alloc returned was not freed.
			if s := c.Stats(); c.sheaves != nil && s.InUse != 60 {
				t.Errorf("%d objects are in use", s.InUse)
			}
			freeLive(c.Cache)
		}
	}
}

// freeLive frees all objects that are in use.
func freeLive(c *Cache) {
	for o := range c.Live() {
		c.Free(mem.Ptr(o.Addr))
	}
}

// After a report that returns, the cache goes on: a written object is cleared and handed out, and
// an object that has an owner is not handed out again.
func TestHardenedGoesOn(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	stay(t)
	c := openRecorder(t, nil, Config{Size: 64, Hardened: On})
	p := take(t, c.Cache, 1)[0]
	c.Free(p)
	*(*byte)(unsafe.Add(p, 40)) = 1
	again := take(t, c.Cache, 1)[0]
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.WriteAfterFree || again != p || !zeroed(p, 64) {
		t.Fatalf("reports %v; %p was written to, %p handed out: % x", c.Reports, p, again, mem.Bytes(uintptr(again), 64))
	}
	c.Reports = nil
	freeUnseen(c.Cache, p)
	next := take(t, c.Cache, 1)[0]
	if len(c.Reports) != 1 || c.Reports[0].Kind != hooks.DoubleFree || c.Reports[0].Addr != uintptr(p) || next == p {
		t.Errorf("reports %v; %p handed out, which is in use: %p", c.Reports, next, p)
	}
	bulk := make([]unsafe.Pointer, 10)
	c.Reports = nil
	freeUnseen(c.Cache, p)
	same(t, "AllocBulk", c.AllocBulk(bulk), nil)
	if len(c.Reports) != 1 || slices.Contains(bulk, p) || slices.Contains(bulk, nil) {
		t.Errorf("reports %v; %v handed out, and %p is in use", c.Reports, bulk, p)
	}
	c.FreeBulk(append(bulk, p, next))
}

// faults reports whether a load of the byte at addr faults.
func faults(addr uintptr) (did bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { did = recover() != nil }()
	loaded = *mem.At[byte](addr)
	return false
}

var loaded byte // what faults loads, so that the load stays

// Some slabs of a hardened cache have a page without access behind them, which serves no object and
// goes back with the slab. A pointer into it is refused.
func TestFences(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	if sanitized {
		t.Skip("its arena is Go heap memory, or fences are in the way of the other sanitizer")
	}
	a := newArena(t, arena.Config{})
	c := openRecorder(t, a, Config{Size: 512, Hardened: On, Flags: NoSheaves})
	ps := take(t, c.Cache, 3*fenceEvery*c.perSlab)
	var fences []uintptr
	for _, p := range ps {
		slab := slabOf(c.Cache, p)
		end := slab + uintptr(c.perSlab)*512
		if page, _ := a.PageOf(slab); !slices.Contains(fences, end) {
			if _, pages, _ := a.Head(page); uintptr(pages)*mem.PageSize > end-slab {
				fences = append(fences, end)
			}
		}
	}
	if len(fences) != 3 {
		t.Fatalf("%d fences behind %d slabs, one in %d wanted", len(fences), 3*fenceEvery, fenceEvery)
	}
	for _, fence := range fences {
		if !faults(fence) || faults(fence-1) {
			t.Errorf("a fence at %#x: faults %t, the byte before %t", fence, faults(fence), faults(fence-1))
		}
	}
	if c.Free(mem.Ptr(fences[0])); len(c.Reports) != 1 || c.Reports[0].Kind != hooks.ForeignPointer {
		t.Errorf("the free of a fence: %v", c.Reports)
	}
	freeAll(c.Cache, ps)
	c.Shrink()
	// All of the arena's pages can be written again.
	other := open(t, a, Config{Size: 4096, Hardened: None, Flags: NoSheaves})
	ps = take(t, other, 3*fenceEvery*8)
	for _, p := range ps {
		paint(p, 4096, 1)
	}
	freeAll(other, ps)
}

// A refill hands out objects in an order that is not that of their addresses, all of them once.
func TestShuffle(t *testing.T) {
	for _, n := range []int{0, 1, 2, 60, 1000} {
		var memory [1001]byte
		objs := make([]unsafe.Pointer, n)
		for i := range objs {
			objs[i] = unsafe.Pointer(&memory[i])
		}
		shuffled := slices.Clone(objs)
		shuffle(shuffled)
		if n >= 60 && slices.Equal(objs, shuffled) {
			t.Errorf("%d objects are in order", n)
		}
		if slices.SortFunc(shuffled, func(p, q unsafe.Pointer) int { return cmp.Compare(uintptr(p), uintptr(q)) }); !slices.Equal(objs, shuffled) {
			t.Errorf("of %d objects some are missing", n)
		}
	}
}

// A refill of a hardened cache brings the objects of a slab in another order than that in which
// they went there.
func TestRefillShuffles(t *testing.T) {
	for _, hardened := range []int{On, None} {
		c := open(t, nil, Config{Size: 64, Hardened: hardened, MinPartial: 10})
		first, again := make([]unsafe.Pointer, c.perSlab), make([]unsafe.Pointer, c.perSlab)
		if n := (source{c}).Refill(0, first, true); n < len(first) {
			t.Fatalf("the refill brings %d objects of %d", n, len(first))
		}
		source{c}.Flush(slices.Clone(first))
		n := source{c}.Refill(0, again, true)
		source{c}.Flush(slices.Clone(again[:n]))
		inOrder := slices.Equal(again, first)
		slices.Reverse(again)
		if inOrder = inOrder || slices.Equal(again, first); n < len(first) || inOrder == (hardened == On) {
			t.Errorf("hardened %v: a refill brings %d objects, in order: %t", hardened, n, inOrder)
		}
	}
}

// What a refill brings is zero, free pointers included, so that the sequences find it so.
func TestRefillClearsLinks(t *testing.T) {
	if sanitized {
		t.Skip("free memory must not be read")
	}
	for _, size := range []int64{8, 20, 64} {
		c := open(t, nil, Config{Size: size, Hardened: On, MinPartial: 10})
		ps := take(t, c, 20)
		c.FreeBulk(slices.Clone(ps))
		c.Shrink()
		objs := make([]unsafe.Pointer, c.perSlab)
		n := source{c}.Refill(0, objs, false)
		for _, p := range objs[:n] {
			if !zeroed(p, c.layout.slot) {
				t.Errorf("%d bytes: an object from a slab is not zero", size)
			}
		}
		if n == 0 {
			t.Error("the refill brings nothing")
		}
		source{c}.Flush(objs[:n])
	}
}

// An object whose link reaches beyond its last byte is compared up to that byte, in whatever way it
// is allocated.
func TestHardenedLinkBeyondTheObject(t *testing.T) {
	c := openRecorder(t, nil, Config{Size: 29, FreePtrOffset: At(24), Hardened: On})
	for range 3 {
		ps := take(t, c.Cache, 10)
		bulk := make([]unsafe.Pointer, 100)
		same(t, "AllocBulk", c.AllocBulk(bulk), nil)
		for _, p := range append(slices.Clone(ps), bulk...) {
			paint(p, 29, 0xee)
		}
		c.FreeBulk(bulk)
		for _, p := range ps {
			c.FreeDeferred(p) // links them
		}
		c.drain(drainAll)
	}
	if len(c.Reports) != 0 {
		t.Errorf("reported: %v", c.Reports[0])
	}
}

// SLUBD_INIT_ON_FREE=1 has all caches clear what is freed, and Buckets large objects as well, but
// those that must not.
func TestClearAll(t *testing.T) {
	before := clearAll
	defer func() { clearAll = before }()
	for _, env := range []bool{false, true} {
		clearAll = env
		for name, tt := range map[string]struct {
			cfg  Config
			want bool
		}{
			"plain": {Config{Size: 64}, env}, "its own flag": {Config{Size: 64, Flags: InitOnFree}, true},
			"constructor": {Config{Size: 64, Ctor: func(unsafe.Pointer) {}}, false},
			"type-safe":   {Config{Size: 64, Flags: TypesafeByRCU}, false},
		} {
			tt.cfg.Hardened = None
			if got := open(t, nil, tt.cfg).config.Flags&InitOnFree != 0; got != tt.want {
				t.Errorf("%s, environment %t: InitOnFree is %t", name, env, got)
			}
		}
		b := openBuckets(t, nil, BucketsConfig{Hardened: None})
		if got := b.config.Flags&InitOnFree != 0; got != env {
			t.Errorf("Buckets, environment %t: InitOnFree is %t", env, got)
		}
	}
}

// A second free leaves the object alone. What was written to it since the first one is there for
// the next allocation to find.
func TestSecondFreeClearsNothing(t *testing.T) {
	withoutSamples(t) // it writes to free objects
	if sanitized {
		t.Skip("a sanitizer reports the write itself")
	}
	var reports []hooks.Kind
	b := openBuckets(t, nil, BucketsConfig{Hardened: On, Debug: "-", Hooks: hooks.Hooks{Report: func(r *hooks.Report) {
		reports = append(reports, r.Kind)
	}}})
	c := b.cacheOf(malloc(t, b, 64))
	want := []hooks.Kind{hooks.DoubleFree, hooks.WriteAfterFree}
	pinned(t, 0, func() {
		for name, free := range map[string]func(unsafe.Pointer){
			"Buckets.Free": b.Free, "Cache.Free": c.Free,
			"FreeBulk": func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
		} {
			reports = nil
			p := malloc(t, b, 64)
			b.Free(p)
			*at(p, 40) = 0x5a
			free(p)
			if *at(p, 40) != 0x5a {
				t.Errorf("%s: the second free has cleared the object", name)
			}
			if q := malloc(t, b, 64); q != p || !slices.Equal(reports, want) {
				t.Errorf("%s: %p was freed twice, %p is allocated, reports: %v", name, p, q, reports)
			}
		}
	})
	freeLive(c)
}

package slub_test

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub"
)

// Owner finds the object of every kind from its first to its last byte, and nothing around it.
func TestOwner(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	a, other := newArena(t, arena.Config{}), newArena(t, arena.Config{})
	cache := open(t, a, slub.Config{Name: "plain", Size: 100, Align: 64, MinPartial: 5})
	elsewhere := open(t, other, slub.Config{Name: "elsewhere", Size: 100, MinPartial: 5})
	b := openBuckets(t, a, slub.BucketsConfig{Name: "values"})
	second := openBuckets(t, a, slub.BucketsConfig{Name: "others"})
	outside := func(what string, p unsafe.Pointer) {
		t.Helper()
		if o, ok := slub.Owner(p); ok || o != (slub.OwnerInfo{}) || o.String() != "no object" {
			t.Errorf("%s is of %v", what, o)
		}
	}
	inside := func(p unsafe.Pointer, want slub.OwnerInfo, text string) {
		t.Helper()
		want.Addr = uintptr(p)
		for _, at := range []int64{0, 1, want.Size / 2, want.Size - 1} {
			o, ok := slub.Owner(unsafe.Add(p, at))
			if !ok || o != want || !strings.Contains(o.String(), text) {
				t.Errorf("byte %d is of %v %t, want %v", at, o, ok, want)
			}
		}
	}
	for _, c := range []*slub.Cache{cache, elsewhere} {
		ps := take(t, c, 3)
		for _, p := range ps {
			inside(p, slub.OwnerInfo{Cache: c, Arena: c.Arena(), Size: 100}, "cache \""+c.Name()+"\"")
		}
		c.Free(ps[0])
		inside(ps[0], slub.OwnerInfo{Cache: c, Arena: c.Arena(), Size: 100}, c.Name()) // free
		freeAll(c, ps[1:])
	}
	p := take(t, cache, 1)[0]
	outside("the room between objects", unsafe.Add(p, 100))
	slab := slabOf(cache, p)
	outside("the slab's end", mem.Ptr(slab+mem.PageSize<<cache.Stats().Order-1))
	cache.Free(p)

	for _, b := range []*slub.Buckets{b, second} {
		for _, n := range kinds {
			p := malloc(t, b, n)
			want := slub.OwnerInfo{Buckets: b, Arena: a, Size: int64(b.Size(p)), Cache: cacheOf(b, p)}
			inside(p, want, b.Name())
			if n > maxRun {
				outside("behind a mapping", unsafe.Add(p, want.Size))
			}
			b.Free(p)
			if n > maxPageClass {
				outside("a large object that was freed", p)
			}
		}
	}
	var word uint64
	outside("nil", nil)
	outside("a Go variable", unsafe.Pointer(&word))
	outside("no bytes", malloc(t, b, 0))
	outside("a page that was never used", mem.Ptr(a.Addr(a.Pages()-1)))
}

// An object that is still in use has its owner after a Close that failed, and none after the end.
func TestOwnerAfterClose(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	for _, n := range kinds {
		p := malloc(t, b, n)
		same(t, "Close", b.Close(), slub.ErrBusy)
		if o, ok := slub.Owner(p); !ok || o.Buckets != b {
			t.Errorf("%d bytes in use are of %v", n, o)
		}
		b.Free(p)
		same(t, "Close", b.Close(), nil)
		if o, ok := slub.Owner(p); ok {
			t.Errorf("%d bytes of closed buckets are of %v", n, o)
		}
		b = openBuckets(t, nil, slub.BucketsConfig{})
	}
}

// The objects of an alias may be larger than those of the first cache: to the last byte they are
// objects.
func TestOwnerOfAliases(t *testing.T) {
	needMerging(t)
	a := newArena(t, arena.Config{})
	small := open(t, a, slub.Config{Size: 57})
	large := open(t, a, slub.Config{Size: 64})
	p := take(t, large, 1)[0]
	if o, ok := slub.Owner(unsafe.Add(p, 63)); !ok || o.Cache != small || o.Size != 64 || o.Addr != uintptr(p) {
		t.Errorf("the last byte is of %v", o)
	}
	large.Free(p)
}

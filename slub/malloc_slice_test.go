package slub_test

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A Slice leads to its bytes and to its Buckets, also where several Buckets are open.
func TestSlice(t *testing.T) {
	if size := unsafe.Sizeof(slub.Slice{}); size != 16 {
		t.Errorf("a Slice has %d bytes", size)
	}
	var all []*slub.Buckets
	for range 20 { // more than the list of Buckets begins with
		all = append(all, openBuckets(t, newArena(t, smallArena), slub.BucketsConfig{Domain: new(rcu.Domain)}))
	}
	for i, b := range all {
		for kind, n := range kinds {
			s, err := b.NewSlice(n)
			same(t, "NewSlice", err, nil)
			if v := s.Bytes(); s.Len() != n || len(v) != n || cap(v) != n || b.Size(unsafe.Pointer(&v[0])) < n {
				t.Fatalf("a %s of buckets %d has length %d, %d bytes of capacity %d", kind, i, s.Len(), len(v), cap(v))
			}
			if s != sliceOf(s) || b.Stats().Objects != 1 {
				t.Errorf("%d objects of buckets %d", b.Stats().Objects, i)
			}
			fill(unsafe.Pointer(&s.Bytes()[0]), n, byte(i))
			free := []func(slub.Slice){slub.Slice.Free, slub.Slice.FreeRCU, slub.Slice.FreeDeferred}[i%3]
			free(s)
			same(t, "Barrier", b.Barrier(t.Context()), nil)
			if n := b.Stats().Objects; n != 0 {
				t.Errorf("%d objects of buckets %d are left", n, i)
			}
		}
		_, err := b.NewSlice(-1)
		same(t, "NewSlice of -1", err, slub.ErrSize)
		if s, err := b.NewSlice(0); s != (slub.Slice{}) || err != nil {
			t.Errorf("no bytes are %v, %v", s, err)
		}
	}
	var none slub.Slice
	if none.Len() != 0 || none.Bytes() != nil {
		t.Errorf("the zero Slice has %d bytes", none.Len())
	}
	none.Free()
	none.FreeRCU()
	none.FreeDeferred()
}

// An object owns values of any length through its Slices; its destructor frees them.
func TestSliceInObjects(t *testing.T) {
	type entry struct{ key, value slub.Slice }
	domain := new(rcu.Domain)
	b := openBuckets(t, nil, slub.BucketsConfig{Domain: domain})
	var entries *slub.Typed[entry]
	entries, err := slub.NewTyped[entry](newArena(t, smallArena), slub.Config{Domain: domain, RCUDtor: func(p unsafe.Pointer) {
		e := (*entry)(p)
		e.key.FreeDeferred()
		e.value.FreeDeferred()
	}})
	same(t, "NewTyped", err, nil)
	for range 100 {
		e, err := entries.Alloc()
		same(t, "Alloc", err, nil)
		e.key, _ = b.NewSlice(20)
		e.value, _ = b.NewSlice(50_000)
		entries.FreeRCU(e)
	}
	same(t, "Close", entries.Close(), nil)
	same(t, "Barrier", b.Barrier(t.Context()), nil)
	if n := b.Stats().Objects; n != 0 {
		t.Errorf("%d values are left", n)
	}
}

// A Slice of closed Buckets is reported, whether its index has been given to others or not, and
// none of their objects is freed.
func TestStaleSlice(t *testing.T) {
	reports := 0
	watch := slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports++ }}}
	b := openBuckets(t, nil, slub.BucketsConfig{})
	s, err := b.NewSlice(100)
	same(t, "NewSlice", err, nil)
	s.Free()
	same(t, "Close", b.Close(), nil)
	same(t, "Close again", b.Close(), nil)
	func() {
		defer func() {
			if r, ok := recover().(*hooks.Report); !ok || r.Kind != hooks.ForeignPointer {
				t.Errorf("a Free of no Buckets' Slice panics with %v", r)
			}
		}()
		s.Free()
	}()
	next := openBuckets(t, nil, watch)
	if indexOf(next) != indexOf(b) {
		t.Fatalf("the index %d of closed Buckets became %d", indexOf(b), indexOf(next))
	}
	p := malloc(t, next, 100)
	s.Free()
	s.FreeRCU()
	s.FreeDeferred()
	if reports != 3 || next.Stats().Objects != 1 {
		t.Errorf("%d reports, %d objects", reports, next.Stats().Objects)
	}
	next.Free(p)
}

// Buckets that could not be closed keep their index: their Slices may still be freed.
func TestSliceOutlivesAFailedClose(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	for _, n := range kinds {
		s, err := b.NewSlice(n)
		same(t, "NewSlice", err, nil)
		defer func() { s.Free() }()
	}
	same(t, "Close", b.Close(), slub.ErrBusy)
}

// Goroutines open and close Buckets while other goroutines read their own Slices.
func TestSliceStress(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	a := newArena(t, smallArena)
	var users sync.WaitGroup
	for range 2 {
		users.Go(func() {
			for range 20 {
				c, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "short"})
				if err != nil {
					t.Error(err)
					return
				}
				s, err := c.NewSlice(100)
				if err != nil {
					t.Error(err)
				}
				s.Free()
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		users.Go(func() {
			for range 5000 {
				s, err := b.NewSlice(100)
				if err != nil {
					t.Error(err)
					return
				}
				s.Free()
			}
		})
	}
	users.Wait()
}

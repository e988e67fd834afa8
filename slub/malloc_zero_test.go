package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// MallocZero zeroes the bytes that were asked for and leaves the rest of the class's object as it
// is, also in instrumented caches. With InitOnFree all of the object is zero.
func TestMallocZeroStopsAtTheLength(t *testing.T) {
	withoutSamples(t) // it says which object comes next
	for name, tt := range map[string]struct {
		cfg  slub.BucketsConfig
		rest byte // what is behind the bytes that were asked for
	}{
		"plain":          {slub.BucketsConfig{Hardened: slub.None}, 0xee},
		"hook":           {slub.BucketsConfig{Hardened: slub.None, Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}}}, 0xee},
		"init on alloc":  {slub.BucketsConfig{Flags: slub.InitOnAlloc}, 0},
		"init on free":   {slub.BucketsConfig{Flags: slub.InitOnFree}, 0},
		"hook, and free": {slub.BucketsConfig{Flags: slub.InitOnFree, Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := openBuckets(t, nil, tt.cfg)
			// Only 8 is the length of a class.
			for _, n := range []int{1, 8, 65, 100, 1025, 20_481} {
				pinned(t, 0, func() {
					p := malloc(t, b, n)
					room := b.Size(p)
					fill(p, room, 0xee)
					b.Free(p)
					q, err := b.MallocZero(n)
					if err != nil || q != p {
						t.Fatalf("%d bytes are at %p, not where others were freed just now, %p: %v", n, q, p, err)
					}
					if at := unlike(q, n, 0); at >= 0 {
						t.Errorf("byte %d of %d is not zero", at, n)
					}
					for at := n; at < b.Size(q); at++ {
						if tt.rest != 0 && at/8*8 == int(freePointerOf(cacheOf(b, q))) {
							continue // the link of the free object
						}
						if got := *(*byte)(unsafe.Add(q, at)); got != tt.rest {
							t.Errorf("byte %d of the %d behind %d is %#x, want %#x", at, room, n, got, tt.rest)
							break
						}
					}
					b.Free(q)
				})
			}
		})
	}
}

// With InitOnFree Free clears what Malloc has returned, of each class, and Malloc returns nothing
// that is not zero: neither what was freed nor, from a slab, the link of a free object.
func TestMallocKeepsZero(t *testing.T) {
	withoutSamples(t) // it looks at free objects
	if sanitized {
		return // free objects must not be read
	}
	b := openBuckets(t, nil, slub.BucketsConfig{Flags: slub.InitOnFree})
	for _, n := range slub.Classes() {
		if n > 32<<10 {
			break // a run of pages
		}
		pinned(t, 0, func() {
			var held []unsafe.Pointer
			for range 3 {
				var ps []unsafe.Pointer
				for range 40 {
					p := malloc(t, b, n)
					if at := unlike(p, n, 0); at >= 0 {
						t.Fatalf("byte %d of %d is not zero when it is allocated", at, n)
					}
					fill(p, n, 0xee)
					ps = append(ps, p)
				}
				for _, p := range ps[1:] {
					b.Free(p)
				}
				if at := unlike(ps[len(ps)-1], n, 0); at >= 0 {
					t.Fatalf("byte %d of %d is not zero when it is free", at, n)
				}
				held = append(held, ps[0])
				cacheOf(b, ps[0]).Shrink() // the slab links its free objects
			}
			for _, p := range held {
				b.Free(p)
			}
		})
	}
}

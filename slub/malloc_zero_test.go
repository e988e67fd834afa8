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
	for name, tt := range map[string]struct {
		cfg  slub.BucketsConfig
		rest byte // what is behind the bytes that were asked for
	}{
		"plain":          {slub.BucketsConfig{}, 0xee},
		"hook":           {slub.BucketsConfig{Hooks: hooks.Hooks{Alloc: func(hooks.Object) {}}}, 0xee},
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

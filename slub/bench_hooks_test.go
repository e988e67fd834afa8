package slub_test

import (
	"testing"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// BenchmarkHooks allocates and frees one object of 64 bytes, from a cache and by Malloc, without
// hooks and with hooks that do nothing.
func BenchmarkHooks(b *testing.B) {
	alloc := func(hooks.Object) {}
	free := func(hooks.Object) bool { return false }
	for _, h := range []struct {
		name  string
		hooks hooks.Hooks
	}{{"none", hooks.Hooks{}}, {"Alloc", hooks.Hooks{Alloc: alloc}}, {"Free", hooks.Hooks{Free: free}}, {"both", hooks.Hooks{Alloc: alloc, Free: free}}} {
		b.Run("cache/"+h.name, func(b *testing.B) {
			c, err := slub.New(nil, slub.Config{Size: 64, Hooks: h.hooks})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			for b.Loop() {
				p, _ := c.Alloc()
				*(*uint64)(p) = 1
				c.Free(p)
			}
		})
		b.Run("Malloc/"+h.name, func(b *testing.B) {
			buckets, err := slub.NewBuckets(nil, slub.BucketsConfig{Hooks: h.hooks})
			if err != nil {
				b.Fatal(err)
			}
			defer buckets.Close()
			for b.Loop() {
				p, _ := buckets.Malloc(64)
				*(*uint64)(p) = 1
				buckets.Free(p)
			}
		})
	}
}

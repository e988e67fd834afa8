package slub_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// BenchmarkHardened replaces objects of sizes as in slubd-bench's workloads of these names, by
// Malloc and Free of Buckets that are ordinary, hardened, or clear what is freed. With ordinary
// ones it also shows what no cache can do without that clears an object of 64-byte lines when it is
// freed (stores), and reads it when it is allocated (stores and loads): one access to each line, by
// the loop itself.
func BenchmarkHardened(b *testing.B) {
	between := func(from, to int) func(*rand.Rand) int {
		return func(r *rand.Rand) int { return from + r.IntN(to-from+1) }
	}
	for _, load := range []struct {
		name string
		live int
		size func(*rand.Rand) int
	}{
		{"pair of 64", 1, between(64, 64)}, {"pair of 256", 1, between(256, 256)}, {"pair of 1024", 1, between(1024, 1024)},
		{"16 to 64", 1024, between(16, 64)}, {"mix", 1024, between(16, 1024)}, {"larson", 5000, between(8, 1000)},
		{"mstress", 1000, func(r *rand.Rand) int { return 16 << r.IntN(9) }}, {"rptest", 1000, between(8, 16000)},
		{"alloc-test", 32768, func(r *rand.Rand) int { return min(1024, int(16/(1-r.Float64()))) }},
		{"malloc-mix", 1024, between(8, 8192)},
	} {
		for _, v := range []struct {
			name          string
			cfg           slub.BucketsConfig
			stores, loads bool
		}{
			{"ordinary", slub.BucketsConfig{Hardened: slub.None}, false, false},
			{"hardened", slub.BucketsConfig{Hardened: slub.On}, false, false},
			{"InitOnFree", slub.BucketsConfig{Hardened: slub.None, Flags: slub.InitOnFree}, false, false},
			{"ordinary, stores", slub.BucketsConfig{Hardened: slub.None}, true, false},
			{"ordinary, stores and loads", slub.BucketsConfig{Hardened: slub.None}, true, true},
		} {
			b.Run(fmt.Sprintf("%s/%s", load.name, v.name), func(b *testing.B) {
				v.cfg.Name = "bench"
				buckets := openBuckets(b, nil, v.cfg)
				r := rand.New(rand.NewPCG(1, 2))
				live := make([][]byte, load.live)
				for i := range live {
					n := load.size(r)
					live[i] = unsafe.Slice((*byte)(malloc(b, buckets, n)), n)
				}
				var slots [4096]int
				var sizes [4096]int
				for i := range slots {
					slots[i], sizes[i] = r.IntN(load.live), load.size(r)
				}
				pairs := func(n int) {
					for i := range n {
						slot := &live[slots[i%len(slots)]]
						p, room := unsafe.Pointer(unsafe.SliceData(*slot)), len(*slot)
						for at := 0; v.stores && at < room; at += 64 {
							*(*byte)(unsafe.Add(p, at)) = 0
						}
						buckets.Free(p)
						n := sizes[i%len(sizes)]
						p, _ = buckets.Malloc(n)
						sum := byte(0)
						for at := 0; v.loads && at < n; at += 64 {
							sum |= *(*byte)(unsafe.Add(p, at))
						}
						*(*byte)(p) = sum | 1
						*slot = unsafe.Slice((*byte)(p), n)
					}
				}
				pairs(2 * len(slots))
				b.ResetTimer()
				pairs(b.N)
				b.StopTimer()
				for _, o := range live {
					buckets.Free(unsafe.Pointer(unsafe.SliceData(o)))
				}
			})
		}
	}
}

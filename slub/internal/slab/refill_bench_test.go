package slab

import (
	"math"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
)

// BenchmarkRefill takes objects of 64 bytes in portions of a sheaf and frees them in portions of a
// spare, as refills and flushes do, in ns for an object. All of them together are more than the
// caches hold, so that each object's line is cold. With new slabs each is made for its first
// portion and given back with its last object; with partial slabs they stay, and each portion
// comes from a chain. Portions that are whole slabs have no links: that is what a refill could cost
// if a new slab had none. The figures are those of the quickest round, since a round is longer than
// what other programs leave the benchmark of a busy CPU.
func BenchmarkRefill(b *testing.B) {
	const size, objects = 64, 240_000
	for _, bench := range []struct {
		name       string
		minPartial int
		order      int
		portion    int
	}{
		{"new/order 0", arena.None, 0, 60}, {"new/order 3", arena.None, 3, 60}, {"new/whole slabs", arena.None, 0, 64},
		{"partial/order 0", 1 << 20, 0, 60}, {"partial/order 3", 1 << 20, 3, 60},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := open(b, size, Config{Order: bench.order, MinPartial: bench.minPartial})
			objs := make([]unsafe.Pointer, objects)
			take, free := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				began := time.Now()
				for part := range slices.Chunk(objs, bench.portion) {
					if _, err := r.Take(0, part, false); err != nil {
						b.Fatal(err)
					}
				}
				taken := time.Now()
				for part := range slices.Chunk(objs, bench.portion) {
					r.FreeBulk(part)
				}
				take, free = min(take, taken.Sub(began)), min(free, time.Since(taken))
			}
			b.ReportMetric(float64(take.Nanoseconds())/objects, "ns/take")
			b.ReportMetric(float64(free.Nanoseconds())/objects, "ns/free")
			b.ReportMetric(0, "ns/op")
		})
	}
}

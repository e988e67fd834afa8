package slab

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// BenchmarkRefill takes objects of 64 bytes in portions of a sheaf and frees them in portions of a
// spare, as refills and flushes do, in ns for an object. All of them together are more than the
// caches hold, so that each object's line is cold. With new slabs each is made for its first
// portion and given back with its last object; with partial slabs they stay, and each portion
// comes from chains. They are freed in the order in which they came or, scattered, in a random one;
// then one in stay of the objects, chosen at random, is never freed. The figures are those of the
// quickest round, since a round is longer than what other programs leave the benchmark of a busy
// CPU.
func BenchmarkRefill(b *testing.B) {
	const size, objects = 64, 240_000
	for _, bench := range []struct {
		name       string
		minPartial int
		order      int
		portion    int
		objects    int
		scattered  bool
		stay       int
	}{
		{"new/order 0", arena.None, 0, 60, objects, false, 0}, {"new/order 3", arena.None, 3, 60, objects, false, 0},
		{"new/whole slabs", arena.None, 0, 64, objects, false, 0},
		{"new/scattered, order 0", arena.None, 0, 60, objects, true, 0}, {"new/scattered, order 3", arena.None, 3, 60, objects, true, 0},
		{"partial/order 0", 1 << 20, 0, 60, objects, false, 0}, {"partial/order 3", 1 << 20, 3, 60, objects, false, 0},
		{"partial/scattered, order 0", 1 << 20, 0, 60, objects, true, 4}, {"partial/scattered, order 3", 1 << 20, 3, 60, objects, true, 4},
		{"hot/order 0", 1 << 20, 0, 60, 240, false, 0}, {"hot/scattered", 1 << 20, 0, 60, 240, true, 0},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := open(b, size, Config{Order: bench.order, MinPartial: bench.minPartial})
			objs := make([]unsafe.Pointer, bench.objects)
			var held []unsafe.Pointer
			if bench.stay > 0 {
				held = objs[:len(objs)/bench.stay]
				if _, err := r.Take(0, objs, false); err != nil {
					b.Fatal(err)
				}
				rand.Shuffle(len(objs), func(i, j int) { objs[i], objs[j] = objs[j], objs[i] })
				objs = objs[len(held):]
				r.FreeBulk(objs)
			}
			if bench.minPartial != arena.None && bench.stay == 0 { // no object is untouched
				r.FreeBulk(r.take(len(objs)))
			}
			take, free := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				began := time.Now()
				for part := range slices.Chunk(objs, bench.portion) {
					if _, err := r.Take(0, part, false); err != nil {
						b.Fatal(err)
					}
				}
				take = min(take, time.Since(began))
				if bench.scattered {
					rand.Shuffle(len(objs), func(i, j int) { objs[i], objs[j] = objs[j], objs[i] })
				}
				began = time.Now()
				for part := range slices.Chunk(objs, bench.portion) {
					r.FreeBulk(part)
				}
				free = min(free, time.Since(began))
			}
			r.FreeBulk(held)
			b.ReportMetric(float64(take.Nanoseconds())/float64(len(objs)), "ns/take")
			b.ReportMetric(float64(free.Nanoseconds())/float64(len(objs)), "ns/free")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkLinks is what BenchmarkRefill's frees and refills can't do without as long as a free
// object has a link in itself: a store to each object, and a load of it that the next one waits
// for, in objects that are more than the caches hold.
func BenchmarkLinks(b *testing.B) {
	const size, objects = 64, 240_000
	for _, scattered := range []bool{false, true} {
		b.Run(map[bool]string{false: "in order", true: "scattered"}[scattered], func(b *testing.B) {
			r := open(b, size, Config{Order: 3})
			objs := make([]unsafe.Pointer, objects)
			if _, err := r.Take(0, objs, false); err != nil {
				b.Fatal(err)
			}
			if scattered {
				rand.Shuffle(len(objs), func(i, j int) { objs[i], objs[j] = objs[j], objs[i] })
			}
			store, load := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
			for b.Loop() {
				began := time.Now()
				next := uintptr(0)
				for _, p := range objs {
					r.SetNext(uintptr(p), next)
					next = uintptr(p)
				}
				stored := time.Now()
				for next != 0 {
					next = uintptr(r.encode(next+r.fp, uintptr(*mem.At[uint64](next + r.fp))))
				}
				store, load = min(store, stored.Sub(began)), min(load, time.Since(stored))
			}
			r.FreeBulk(objs)
			b.ReportMetric(float64(store.Nanoseconds())/objects, "ns/store")
			b.ReportMetric(float64(load.Nanoseconds())/objects, "ns/load")
			b.ReportMetric(0, "ns/op")
		})
	}
}

package slub

import (
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

// Free finds the stacks of all size classes by one sequence: they lie side by side, in the order
// of their owner words.
func TestClassesAreAdjacent(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	if percpu.Engine() != "rseq" || checked {
		t.Skip("Free is its slow path")
	}
	stay(t)
	b := openBuckets(t, nil, BucketsConfig{Hardened: None})
	filters := make([]percpu.Filter, len(b.caches))
	for i, c := range b.caches {
		filters[i] = c.free.Filter
	}
	var slow []unsafe.Pointer
	var free percpu.FreeByOwner
	free.Init(func(p unsafe.Pointer) { slow = append(slow, p) })
	free.Fill(b.firstID, filters)
	for i, size := range classSizes {
		free.Func()(malloc(t, b, int(size)))
		if len(slow) > 0 {
			t.Fatalf("class %d of %d, of %d bytes, takes the slow path", i, len(classSizes), size)
		}
	}
}

// Buckets start half-full sheaves later than a cache, unless they are told when.
func TestBucketsDelay(t *testing.T) {
	for delay, want := range map[time.Duration]time.Duration{0: bucketsDelay, time.Second: time.Second} {
		cfg := BucketsConfig{RCUDelay: delay}
		for what, got := range map[string]Config{"class": cfg.class(0, 64), "page class": cfg.pageClass(64 << 10)} {
			if got.RCUDelay != want {
				t.Errorf("the delay of a %s is %v, want %v", what, got.RCUDelay, want)
			}
		}
	}
}

// From 49 bytes up a class is at most an eighth larger than the number of bytes in whole words. Up
// to 48 it is the number of bytes in whole words.
func TestClassWaste(t *testing.T) {
	for n := uintptr(1); n <= maxClass; n++ {
		class, words := classSizes[classOf(uint(n))], mem.AlignUp(n, 8)
		if class < n || n <= 48 && class != words || 8*class > 9*words {
			t.Errorf("%d bytes, %d in words, take %d", n, words, class)
		}
	}
}

// No class between powers of two could be omitted: the next one would be more than an eighth larger
// than what needed it.
func TestNoClassIsSpare(t *testing.T) {
	for i, size := range classSizes[:numClasses-1] {
		if size > 48 && !mem.IsPow2(size) && 8*classSizes[i+1] <= 9*(classSizes[i-1]+8) {
			t.Errorf("class %d could be omitted: %d bytes may take %d", size, classSizes[i-1]+1, classSizes[i+1])
		}
	}
}

// Slabs of no class leave more than a sixteenth unused, on any number of CPUs.
func TestClassSlabs(t *testing.T) {
	for _, size := range classSizes {
		slabs, _ := classSlabs(size)
		for cpus := 1; cpus <= 1024; cpus *= 2 {
			bytes := uintptr(mem.PageSize) << slabs.order(size, cpus)
			if rest := bytes % size; rest > bytes/16 || bytes > 256<<10 {
				t.Errorf("class %d, %d CPUs: %d of %d bytes of a slab stay unused", size, cpus, rest, bytes)
			}
		}
	}
}

package rcumap

import (
	"fmt"
	"testing"
)

// BenchmarkGet and BenchmarkPut measure one goroutine with few keys, which stay in the CPU's
// caches, and with many, which do not. slubd-bench's rcu-map compares mixes of both with other
// maps.
func BenchmarkGet(b *testing.B) {
	forSizes(b, func(b *testing.B, m *Map, keys []string) {
		r := m.Domain().Register("bench")
		defer r.Close()
		for i := 0; b.Loop(); i++ {
			if _, found := m.Get(keys[i%len(keys)]); !found {
				b.Fatal("a key is lost")
			}
			r.Quiescent()
		}
	})
}

func BenchmarkPut(b *testing.B) {
	forSizes(b, func(b *testing.B, m *Map, keys []string) {
		value := make([]byte, 64)
		for i := 0; b.Loop(); i++ {
			if err := m.Put(keys[i%len(keys)], value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func forSizes(b *testing.B, run func(*testing.B, *Map, []string)) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			m, keys := newMap(b), make([]string, n)
			defer closeMap(b, m)
			for i := range keys {
				keys[i] = fmt.Sprintf("key %010d", i)
				if err := m.Put(keys[i], make([]byte, 64)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			run(b, m, keys)
		})
	}
}

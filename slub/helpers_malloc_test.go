package slub

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
)

// openBuckets makes buckets that must close without a leak when the test ends.
func openBuckets(t testing.TB, a *arena.Arena, cfg BucketsConfig) *Buckets {
	t.Helper()
	if a == nil {
		a = newArena(t, arena.Config{})
	}
	b, err := NewBuckets(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return b
}

// malloc is Malloc, with the cache for n bytes made before if it is one of the page classes.
func malloc(t testing.TB, b *Buckets, n int) unsafe.Pointer {
	t.Helper()
	if maxClass < n && n <= maxPageClass {
		b.makePageClass(pageClassOf(uintptr(n)))
	}
	p, err := b.Malloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// boundaries has sizes around every boundary between classes and kinds.
var boundaries = func() (sizes []int) {
	for _, c := range classSizes {
		sizes = append(sizes, int(c)-1, int(c), int(c)+1)
	}
	for _, run := range []int{65536, 131072, maxRun} {
		sizes = append(sizes, run-1, run, run+1)
	}
	return append(sizes, 3*maxRun)
}()

func hexOf(p unsafe.Pointer) string { return fmt.Sprintf("%p", p) }

// eachByte times a byte has that byte in each of its eight. What a test looks at in words takes it
// an eighth of the time, which counts in builds that check each access.
const eachByte = 0x0101010101010101

func fill(p unsafe.Pointer, n int, with byte) {
	words := unsafe.Slice((*uint64)(p), n/8)
	for i := range words {
		words[i] = uint64(with) * eachByte
	}
	bytes := unsafe.Slice((*byte)(p), n)
	for i := n &^ 7; i < n; i++ {
		bytes[i] = with
	}
}

// unlike returns the index of the first byte that is not want, -1 if there is none.
func unlike(p unsafe.Pointer, n int, want byte) int {
	words, same := unsafe.Slice((*uint64)(p), n/8), 0
	for same < len(words) && words[same] == uint64(want)*eachByte {
		same++
	}
	bytes := unsafe.Slice((*byte)(p), n)
	for i := same * 8; i < n; i++ {
		if bytes[i] != want {
			return i
		}
	}
	return -1
}

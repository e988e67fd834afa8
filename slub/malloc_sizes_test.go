package slub

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestMallocSizes(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	class := 0
	for n := 1; n <= maxClass; n++ {
		if n > int(classSizes[class]) {
			class++
		}
		p := malloc(t, b, n)
		if got := b.Size(p); got != int(classSizes[class]) {
			t.Fatalf("%d bytes are from the class of %d, want %d", n, got, classSizes[class])
		}
		if align := classAlign(classSizes[class]); uintptr(p)%align != 0 || uintptr(p)%8 != 0 {
			t.Fatalf("%d bytes at %#x, want a multiple of %d", n, p, align)
		}
		b.Free(p)
	}
	for _, n := range boundaries {
		if n <= maxClass {
			continue
		}
		p := malloc(t, b, n)
		want := n
		if n <= maxRun {
			want = int(runBytes(uintptr(n)))
		}
		if got := b.Size(p); got != int(mem.AlignUp(uintptr(want), mem.PageSize)) || uintptr(p)%mem.PageSize != 0 {
			t.Errorf("%d bytes are %d at %#x, want %d", n, got, p, want)
		}
		b.Free(p)
	}
	for want, classes := range map[uintptr][]uintptr{8: {8, 24, 40}, 16: {48, 80, 112}, 32: {32, 96, 160}, 64: {64, 192}, 128: {128, 1152}, 4096: {4096, 8192}} {
		for _, size := range classes {
			if got := classAlign(size); got != want {
				t.Errorf("class %d is aligned to %d, want %d", size, got, want)
			}
		}
	}
}

func TestNothingWithoutMemory(t *testing.T) {
	before := noBytes.Swap(0)
	defer noBytes.Store(before)
	defer sys.FailNth(sys.CallGuard, 1, errors.New("no"))()
	_, err := nothing()
	same(t, "no bytes", err, ErrNoMemory)
}

// The sheaves of all classes hold about the same number of bytes, within bounds.
func TestClassCapacities(t *testing.T) {
	for factor, want := range map[float64]map[uintptr]int{
		1: {8: 240, 128: 240, 192: 170, 256: 128, 512: 64, 1024: 32, 4096: 8, 8192: 4, 32768: 1},
		4: {8: 240, 128: 240, 192: 240, 512: 240, 640: 204, 1024: 128, 4096: 32, 8192: 16, 12288: 10, 32768: 4},
	} {
		for size, want := range want {
			if got := classCapacity(size, factor); got != want {
				t.Errorf("class %d has sheaves of %d, want %d", size, got, want)
			}
		}
	}
	b := openBuckets(t, nil, BucketsConfig{})
	for size, least := range map[uint]int{512: 64, 32768: 4} {
		if got := b.caches[classOf(size)].Stats().SheafCapacity; got < least {
			t.Errorf("the cache for %d bytes has sheaves of %d, want at least %d", size, got, least)
		}
	}
}

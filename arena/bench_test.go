package arena

import (
	"fmt"
	"testing"

	"github.com/slubd/slubd/internal/mem"
)

// BenchmarkAllocFree allocates runs as slub does: with an owner, without touching the pages.
func BenchmarkAllocFree(b *testing.B) {
	for _, order := range []int{0, 3, MaxOrder} {
		b.Run(fmt.Sprintf("order=%d", order), func(b *testing.B) {
			a := open(b, Config{})
			for b.Loop() {
				run, err := a.Alloc(order, 0)
				if err != nil {
					b.Fatal(err)
				}
				a.SetOwner(run.Page, 1<<order, 1)
				a.Free(run.Page)
			}
		})
	}
}

func BenchmarkAllocFreeParallel(b *testing.B) {
	a := open(b, Config{Span: 64 * mib})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			run, err := a.Alloc(3, 0)
			if err != nil {
				b.Error(err)
				return
			}
			a.SetOwner(run.Page, 8, 1)
			a.Free(run.Page)
		}
	})
}

// BenchmarkAllocTouchFreePurge gives the run back to the kernel each time, so that its pages are
// faulted in again.
func BenchmarkAllocTouchFreePurge(b *testing.B) {
	a := open(b, Config{})
	for b.Loop() {
		run, err := a.Alloc(3, 0)
		if err != nil {
			b.Fatal(err)
		}
		for page := range uint32(8) {
			*mem.At[byte](a.Addr(run.Page + page)) = 1
		}
		a.Free(run.Page)
		a.Purge(0)
	}
}

func BenchmarkHead(b *testing.B) {
	a := open(b, Config{})
	run := alloc(b, a, 3, 0)
	for b.Loop() {
		if _, _, ok := a.Head(run.Page + 5); !ok {
			b.Fatal("no head")
		}
	}
	a.Free(run.Page)
}

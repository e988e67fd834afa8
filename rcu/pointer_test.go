package rcu

import (
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

func TestPointer(t *testing.T) {
	type pair struct{ a, b int }
	addr, err := percpu.Reserve(mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer percpu.Unreserve(addr, mem.PageSize)
	one, two := mem.At[pair](addr), mem.At[pair](addr+16)
	var d Domain
	section := d.Enter()
	var p Pointer[pair]
	if p.Load() != nil || p.CompareAndSwap(one, two) || p.Swap(one) != nil || p.Load() != one {
		t.Error("the zero Pointer is not nil")
	}
	if p.CompareAndSwap(two, one) || !p.CompareAndSwap(one, two) || p.Load() != two {
		t.Error("CompareAndSwap doesn't compare")
	}
	if p.Store(one); p.Swap(nil) != one || p.Load() != nil {
		t.Error("Store has not stored")
	}
	section.Exit()

	// A published object is complete: a and b agree, though they are written plainly.
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range testutil.Stress(t, 5000) {
			fresh := mem.At[pair](addr + uintptr(i%2)*16)
			fresh.a, fresh.b = i, i
			p.Store(fresh)
			if err := d.Synchronize(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			s := d.Enter()
			if got := p.Load(); got != nil && got.a != got.b {
				t.Errorf("a reader finds %+v", *got)
			}
			s.Exit()
		}
	})
	wg.Wait()
}

package arena

import (
	"errors"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
)

func TestLimit(t *testing.T) {
	a := open(t, Config{Limit: 8 * mem.PageSize})
	run := alloc(t, a, 2, 0)
	if _, err := a.Alloc(3, 0); !errors.Is(err, ErrLimit) || !errors.Is(err, ErrNoMemory) {
		t.Errorf("12 pages with a limit of 8: %v", err)
	}
	other := alloc(t, a, 2, 0)
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("9 pages with a limit of 8: %v", err)
	}
	a.SetLimit(9 * mem.PageSize)
	a.Free(alloc(t, a, 0, 0).Page)
	a.SetLimit(None)
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrLimit) || a.Limit() != 0 {
		t.Errorf("a page with a limit of none, which is %d bytes: %v", a.Limit(), err)
	}
	for _, n := range []int64{0, Unlimited} {
		a.SetLimit(n)
		if a.Limit() != Unlimited {
			t.Errorf("SetLimit(%d) makes a limit of %d bytes", n, a.Limit())
		}
	}
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	a.Free(run.Page)
	a.Free(other.Page)
}

// An Alloc at the limit discards freed runs, which it can't use itself, before it fails.
func TestLimitDiscardsFirst(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1), Limit: 8 * mem.PageSize})
	small := alloc(t, a, 2, 1)
	a.Free(small.Page)
	run := alloc(t, a, 3, 0)
	if s := a.Stats(); s.Nodes[0].Used != 8*mem.PageSize || s.Nodes[1].Free != 0 {
		t.Errorf("a run of the limit's size leaves %+v", s.Nodes)
	}
	a.Free(run.Page)
}

func TestLoweredLimitDiscards(t *testing.T) {
	a := open(t, Config{})
	keep := alloc(t, a, 0, 0)
	a.Free(alloc(t, a, 4, 0).Page)
	a.SetLimit(8 * mem.PageSize)
	if n := a.Stats().Nodes[0]; n.Used+n.Free > 8*mem.PageSize || a.Limit() != 8*mem.PageSize {
		t.Errorf("after SetLimit of 8 pages: %+v", n)
	}
	a.Free(keep.Page)
}

// Each goroutine has a share of the limit, and never more than one run, of the size of the share.
// So no Alloc may fail, whatever the others have freed and not yet discarded, and the sum never
// exceeds the limit.
func TestLimitNeverFailsSpuriously(t *testing.T) {
	orders := []int{0, 2, 3, 5}
	var limit int64
	for _, order := range orders {
		limit += mem.PageSize << order
	}
	a := open(t, Config{Topology: nodes(t, 0, 1), Limit: limit})
	ops := testutil.Stress(t, 12000) / len(orders)
	var wg sync.WaitGroup
	for _, order := range orders {
		wg.Go(func() {
			for i := range ops {
				run, err := a.Alloc(order, a.Topology().Nodes()[i%2])
				if err != nil {
					t.Error(err)
					return
				}
				if charged, _ := a.ledger.load(); charged*mem.PageSize > limit {
					t.Errorf("%d pages charged, limit %d bytes", charged, limit)
				}
				a.Free(run.Page)
			}
		})
	}
	wg.Wait()
}

package slub_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// TestTortureClosedCaches: goroutines go on using caches that are closed, by every operation, while
// others open caches, use them and close them. Nothing of the open ones is ever touched: every
// object has one owner and keeps what it wrote, and Close finds all objects.
func TestTortureClosedCaches(t *testing.T) {
	a := newArena(t, arena.Config{Span: 64 * mib})
	d := new(rcu.Domain)
	cfg := slub.Config{Size: 64, Domain: d, Hooks: hooks.Hooks{Report: func(*hooks.Report) {}}}
	type closedCache struct {
		c     *slub.Cache
		stale []unsafe.Pointer
		lent  *slub.Prefilled
	}
	const opsPerCache = 5000 // one cache's life, and what the other goroutines do meanwhile
	var closed [32]atomic.Pointer[closedCache]
	var stop atomic.Bool
	var wrong, owners sync.WaitGroup
	seed := testutil.Seed(t)
	for id := range 4 {
		wrong.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(id)))
			for !stop.Load() {
				old := closed[rng.IntN(len(closed))].Load()
				if old == nil {
					runtime.Gosched()
					continue
				}
				p := old.stale[rng.IntN(len(old.stale))]
				var got unsafe.Pointer
				var err error
				switch rng.IntN(14) {
				case 0:
					got, err = old.c.AllocNode(0)
				case 1:
					got, err = old.c.AllocNoWait()
				case 2:
					err = old.c.AllocBulk(make([]unsafe.Pointer, 3))
				case 3:
					_, err = old.c.Prefill(2)
				case 4:
					old.c.Free(p)
				case 5:
					old.c.FreeRCU(p)
				case 6:
					old.c.FreeDeferred(p)
				case 7:
					old.c.FreeBulk([]unsafe.Pointer{p, old.stale[0]})
				case 8:
					old.c.Stats() // counts what is done here
				case 9:
					old.c.Shrink()
				case 10:
					_ = old.lent.Free(p)
					if old.lent.Alloc() != nil {
						t.Error("a returned sheaf has objects")
					}
				case 11:
					err = old.c.SetSheafCapacity(1 + rng.IntN(100))
				default:
					got, err = old.c.Alloc()
				}
				if got != nil || err != nil && !errors.Is(err, slub.ErrClosed) && !errors.Is(err, slub.ErrWouldBlock) {
					t.Errorf("a closed cache: %p, %v", got, err)
				}
			}
		})
	}
	for id := range 3 {
		owners.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 100+uint64(id)))
			for round := range max(1, testutil.Stress(t, 450*opsPerCache)/opsPerCache/3) {
				c, err := slub.New(a, cfg)
				if err != nil {
					t.Error(err)
					return
				}
				mark := uint64(id)<<32 | uint64(round)
				ps := make([]unsafe.Pointer, 50+rng.IntN(100))
				for i := range ps {
					if ps[i], err = c.Alloc(); err != nil {
						t.Error(err)
						return
					}
					*(*uint64)(ps[i]) = mark<<16 | uint64(i)
				}
				runtime.Gosched()
				for i, p := range ps {
					if got := *(*uint64)(p); got != mark<<16|uint64(i) {
						t.Errorf("object %d of round %d reads %#x", i, round, got)
					}
					c.Free(p)
				}
				lent, err := c.Prefill(2)
				if err != nil {
					t.Error(err)
					return
				}
				lent.Return()
				if err := c.CloseContext(context.Background()); err != nil {
					t.Error(err)
				}
				closed[rng.IntN(len(closed))].Store(&closedCache{c, ps, lent})
				if round%16 == 0 {
					runtime.GC()
				}
			}
		})
	}
	owners.Wait()
	stop.Store(true)
	wrong.Wait()
}

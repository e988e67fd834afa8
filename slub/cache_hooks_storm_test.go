package slub_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/slub"
)

// A hookedSubject is a cache or Buckets whose hooks are set while goroutines allocate and free.
type hookedSubject struct {
	alloc   []func() (unsafe.Pointer, error)
	free    []func(unsafe.Pointer)
	set     func(hooks.Hooks) error
	wait    func(context.Context) error
	barrier func(context.Context) error
}

func hookedCache(t *testing.T, cfg slub.Config) hookedSubject {
	c := open(t, nil, cfg)
	node := c.Arena().Topology().Nodes()[0]
	return hookedSubject{set: c.SetHooks, wait: c.WaitHooks, barrier: c.Barrier,
		alloc: []func() (unsafe.Pointer, error){c.Alloc, c.AllocZero,
			func() (unsafe.Pointer, error) { return c.AllocNode(node) },
			func() (unsafe.Pointer, error) {
				var one [1]unsafe.Pointer
				err := c.AllocBulk(one[:])
				return one[0], err
			}},
		free: []func(unsafe.Pointer){c.Free, c.FreeRCU, c.FreeDeferred,
			func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) }}}
}

func hookedBuckets(*testing.T) hookedSubject {
	b, _ := slub.DefaultBuckets()
	return hookedSubject{set: b.SetHooks, wait: b.WaitHooks, barrier: b.Barrier,
		alloc: []func() (unsafe.Pointer, error){
			func() (unsafe.Pointer, error) { return slub.Malloc(100) },
			func() (unsafe.Pointer, error) { return slub.MallocZero(200) },
			func() (unsafe.Pointer, error) { return b.Malloc(40 << 10) },
			func() (unsafe.Pointer, error) {
				s, err := slub.Bytes(100)
				return unsafe.Pointer(unsafe.SliceData(s)), err
			}},
		free: []func(unsafe.Pointer){slub.Free, slub.FreeRCU, slub.FreeDeferred, b.Free}}
}

// Hooks come and go while goroutines allocate and free. Between two settled states each goroutine
// keeps a ledger of its own, and the hooks in force must have seen exactly that; those from before
// must have seen nothing. While they change, no object is seen more often than it was allocated or
// freed.
func TestSetHooksWhileInUse(t *testing.T) {
	rounds, workers, each := 30, 4, 1500
	if testing.Short() || sanitized {
		rounds, each = 8, 300
	}
	for name, subjectOf := range map[string]func(*testing.T) hookedSubject{
		"cache":         func(t *testing.T) hookedSubject { return hookedCache(t, slub.Config{Size: 64}) },
		"InitOnFree":    func(t *testing.T) hookedSubject { return hookedCache(t, slub.Config{Size: 64, Flags: slub.InitOnFree}) },
		"hardened":      func(t *testing.T) hookedSubject { return hookedCache(t, slub.Config{Size: 64, Hardened: slub.On}) },
		"no sheaves":    func(t *testing.T) hookedSubject { return hookedCache(t, slub.Config{Size: 64, Flags: slub.NoSheaves}) },
		"DefaultBucket": hookedBuckets,
	} {
		t.Run(name, func(t *testing.T) {
			s := subjectOf(t)
			for round := range rounds {
				s.round(t, round, workers, each)
			}
			if err := errors.Join(s.set(hooks.Hooks{}), s.barrier(context.Background())); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// round is one settled state, a time of changes, and another settled state.
func (s hookedSubject) round(t *testing.T, round, workers, each int) {
	t.Helper()
	changes := s.work(t, round, workers, each, true)
	if err := errors.Join(s.barrier(context.Background()), s.wait(context.Background())); err != nil {
		t.Fatal(err)
	}
	all := newSeen()
	for _, h := range changes.sets {
		add(all.alloc, h.alloc)
		add(all.free, h.free)
	}
	if !covers(changes.ledger.alloc, all.alloc) || !covers(changes.ledger.free, all.free) {
		t.Errorf("round %d: hooks have seen more than was allocated and freed", round)
	}
	before := all.calls()
	settled := newSeen()
	if err := s.set(settled.hooks()); err != nil {
		t.Fatal(err)
	}
	work := s.work(t, round, workers, each, false)
	if err := s.barrier(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(settled.alloc, work.ledger.alloc) || !maps.Equal(settled.free, work.ledger.free) {
		t.Errorf("round %d: %d objects were allocated and %d freed, the hooks have seen %d and %d", round,
			len(work.ledger.alloc), len(work.ledger.free), len(settled.alloc), len(settled.free))
	}
	after := 0
	for _, h := range changes.sets {
		after += h.calls()
	}
	if after != before {
		t.Errorf("round %d: hooks that were replaced, and waited for, were called %d times", round, after-before)
	}
}

func add(to, from map[uintptr]int) {
	for addr, n := range from {
		to[addr] += n
	}
}

// worked is what happened while goroutines worked.
type worked struct {
	ledger *seen   // what they have allocated and freed
	sets   []*seen // hooks that were set meanwhile
}

// work has goroutines allocate and free, each object within. With changing set, the hooks are
// changed until they have finished.
func (s hookedSubject) work(t *testing.T, seed, workers, each int, changing bool) worked {
	t.Helper()
	ledgers := make([]*seen, workers)
	var working sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(workers))
	for w := range ledgers {
		ledgers[w] = newSeen()
		working.Go(func() {
			defer left.Add(-1)
			s.allocAndFree(t, rand.New(rand.NewPCG(uint64(seed), uint64(w))), ledgers[w], each)
		})
	}
	var out worked
	for n := 0; changing && left.Load() > 0; n++ {
		h := hooks.Hooks{}
		if n%3 != 2 {
			out.sets = append(out.sets, newSeen())
			h = out.sets[len(out.sets)-1].hooks()
		}
		if err := s.set(h); err != nil {
			t.Error(err)
		}
	}
	working.Wait()
	out.ledger = newSeen()
	for _, l := range ledgers {
		add(out.ledger.alloc, l.alloc)
		add(out.ledger.free, l.free)
	}
	return out
}

// allocAndFree allocates and frees in random ways, and keeps a ledger.
func (s hookedSubject) allocAndFree(t *testing.T, random *rand.Rand, ledger *seen, n int) {
	var held []unsafe.Pointer
	for n > 0 || len(held) > 0 {
		if n > 0 && (len(held) == 0 || random.IntN(2) == 0) {
			n--
			p, err := s.alloc[random.IntN(len(s.alloc))]()
			if err != nil {
				t.Error(err)
				return
			}
			ledger.alloc[uintptr(p)]++
			held = append(held, p)
			continue
		}
		i, last := random.IntN(len(held)), len(held)-1
		p := held[i]
		held[i], held = held[last], held[:last]
		ledger.free[uintptr(p)]++
		s.free[random.IntN(len(s.free))](p)
	}
}

package slub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// exhausted returns a cache that has no memory left, and what has taken it.
func exhausted(t *testing.T, flags slub.Flags) (*arena.Arena, *slub.Cache, []unsafe.Pointer) {
	a := newArena(t, arena.Config{Limit: mib})
	c := open(t, a, slub.Config{Size: 512, Flags: flags, Domain: new(rcu.Domain)})
	return a, c, fillArena(t, c)
}

// TestAllocContextWaits: an allocation with a context waits for a free, whatever its kind and
// wherever it happens.
func TestAllocContextWaits(t *testing.T) {
	withoutSamples(t) // the memory of a sampled object has room for several others
	_, c, ps := exhausted(t, 0)
	for how, free := range map[string]func(unsafe.Pointer){
		"Free": c.Free, "FreeRCU": c.FreeRCU, "FreeDeferred": c.FreeDeferred,
		"FreeBulk": func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) },
	} {
		got, before := make(chan error, 1), c.Stats().AllocFailures
		go func() {
			p, err := c.AllocContext(context.Background())
			if err == nil {
				ps[0] = p
			}
			got <- err
		}()
		within(t, "a second try", func() bool { // it has waited between the two
			select {
			case err := <-got:
				t.Fatalf("%s: not waited: %v", how, err)
			default:
			}
			return c.Stats().AllocFailures >= before+2
		})
		free(ps[0])
		if err := <-got; err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	freeAllBy(c.Free, ps)
}

// TestAllocContextEnds: what waits ends with its context, and what can't succeed does not wait.
func TestAllocContextEnds(t *testing.T) {
	a, c, ps := exhausted(t, 0)
	b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)})
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	if _, err := c.AllocContext(ctx); !errors.Is(err, slub.ErrNoMemory) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, n := range []int{100, 9000, 100_000} {
		if _, err := b.MallocContext(ctx, n); !errors.Is(err, slub.ErrNoMemory) || !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for n, want := range map[int]error{-1: slub.ErrSize, 2 * mib: slub.ErrNoMemory, 1 << 60: slub.ErrNoMemory} {
		if _, err := b.MallocContext(context.Background(), n); !errors.Is(err, want) || errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	freeAllBy(c.Free, ps)
	for _, n := range []int{0, 100, 100_000} {
		p, err := b.MallocContext(ctx, n)
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		b.Free(p)
	}
	closed := open(t, a, slub.Config{Size: 8, Domain: new(rcu.Domain)})
	same(t, "Close", closed.Close(), nil)
	if _, err := closed.AllocContext(context.Background()); !errors.Is(err, slub.ErrClosed) {
		t.Error(err)
	}
}

// TestReserve: when the cache has no memory a reserve gives out what it has put aside, then waits;
// its Free fills it up first.
func TestReserve(t *testing.T) {
	for _, flags := range []slub.Flags{slub.InitOnAlloc, slub.InitOnFree} {
		testReserve(t, flags)
	}
}

func testReserve(t *testing.T, flags slub.Flags) {
	a := newArena(t, arena.Config{Limit: mib})
	c := open(t, a, slub.Config{Size: 512, Flags: flags, Domain: new(rcu.Domain)})
	r, err := c.NewReserve(3)
	if err != nil {
		t.Fatal(err)
	}
	ps := fillArena(t, c)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	var held []unsafe.Pointer
	for left := 2; left >= 0; left-- {
		p, err := r.Alloc(ended)
		if err != nil || r.Len() != left {
			t.Fatalf("%d left, want %d, %v", r.Len(), left, err)
		}
		if got := *(*uint64)(p); got != 0 {
			t.Errorf("flags %d: %#x", flags, got)
		}
		*(*uint64)(p) = 7
		held = append(held, p)
	}
	r.Free(held[2])
	if held[2], err = r.Alloc(ended); err != nil || *(*uint64)(held[2]) != 0 {
		t.Errorf("flags %d: what was put aside reads %#x, %v", flags, *(*uint64)(held[2]), err)
	}
	if _, err := r.Alloc(ended); !errors.Is(err, slub.ErrNoMemory) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	got := make(chan unsafe.Pointer)
	for range 2 {
		go func() {
			p, err := r.Alloc(context.Background())
			if err != nil {
				t.Error(err)
			}
			got <- p
		}()
	}
	r.Free(held[0]) // for the first that waits
	held[0] = <-got
	c.Free(ps[0]) // the cache has room
	ps[0] = <-got
	for _, p := range held {
		r.Free(p)
	}
	if r.Len() != 3 {
		t.Errorf("%d put aside, want 3", r.Len())
	}
	r.Free(ps[0]) // beyond the reserve
	if in := c.Stats().InUse; r.Len() != 3 || int(in) != len(ps)-1+3 {
		t.Errorf("%d put aside, %d in use", r.Len(), in)
	}
	freeAllBy(c.Free, ps[1:])
	r.Close()
	r.Close()
	if _, err := r.Alloc(context.Background()); err != nil {
		if !errors.Is(err, slub.ErrClosed) {
			t.Error(err)
		}
	} else {
		t.Error("a closed reserve gives out objects")
	}
	if in := c.Stats().InUse; in != 0 {
		t.Errorf("%d in use after Close", in)
	}
}

// waitForReserve has n callers wait for an object of a reserve that has given out all of its size,
// in a bubble whose clock stands still while a goroutine can run. When release is called they are
// in their first pause or, with busy set, ask the cache once more. Each must end with the error
// want before the clock moves: a caller that nothing wakes looks again when its pause is over.
func waitForReserve(t *testing.T, size, n int, busy bool, want error, release func(*slub.Reserve, []unsafe.Pointer)) {
	synctest.Test(t, func(t *testing.T) {
		a := newArena(t, arena.Config{Limit: mib})
		c := open(t, a, slub.Config{Size: 512, Domain: new(rcu.Domain)})
		r, err := c.NewReserve(size)
		if err != nil {
			t.Fatal(err)
		}
		ps := fillArena(t, c)
		var held []unsafe.Pointer
		for range size {
			p, err := r.Alloc(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, p)
		}
		got := make(chan unsafe.Pointer, n)
		for range n {
			go func() {
				p, err := r.Alloc(t.Context())
				same(t, "Alloc", err, want)
				got <- p
			}()
			synctest.Wait()
		}
		asking, goOn := 0, make(chan struct{})
		if busy {
			defer a.RemoveReclaimer(a.AddReclaimer(func() int { asking++; <-goOn; return 0 }))
			time.Sleep(10 * time.Millisecond) // longer than a pause
			synctest.Wait()
		}
		if len(got) > 0 || busy != (asking == 1) { // the others wait for the round of the first
			t.Errorf("%d have not waited, %d ask the cache", len(got), asking)
		}
		began := time.Now()
		release(r, held)
		close(goOn)
		for range n {
			if p := <-got; p != nil {
				ps = append(ps, p)
			}
		}
		if pause := time.Since(began); pause != 0 {
			t.Errorf("a caller was not woken, and looked again %v later", pause)
		}
		freeAllBy(c.Free, ps)
		r.Close()
	})
}

// TestReserveCloseWakes: a Close wakes all that wait.
func TestReserveCloseWakes(t *testing.T) {
	waitForReserve(t, 1, 4, false, slub.ErrClosed, func(r *slub.Reserve, held []unsafe.Pointer) {
		r.Close()
		freeAllBy(r.Free, held)
	})
}

// TestReserveFreeWakes: a Free wakes one that waits, and as many frees wake several, also where
// these see only after the last free that there was one.
func TestReserveFreeWakes(t *testing.T) {
	for size, busy := range map[int]bool{1: false, 3: true} {
		waitForReserve(t, size, size, busy, nil, func(r *slub.Reserve, held []unsafe.Pointer) { freeAllBy(r.Free, held) })
	}
}

// TestReserveMakesProgress: many more workers than objects go on for ever with a reserve of one, as
// long as each gives back what it has.
func TestReserveMakesProgress(t *testing.T) {
	_, c, ps := exhausted(t, 0)
	c.Free(ps[0])
	r, err := c.NewReserve(1)
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 200 {
				p, err := r.Alloc(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				r.Free(p)
			}
		})
	}
	workers.Wait()
	r.Close()
	freeAllBy(c.Free, ps[1:])
}

// TestReserveChecks: a reserve takes objects of its cache only, and NewReserve refuses what can't
// be.
func TestReserveChecks(t *testing.T) {
	reports := 0
	a := newArena(t, arena.Config{Limit: mib})
	c := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain), Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports++ }}})
	other := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain)})
	for n, want := range map[int]error{0: slub.ErrConfig, -1: slub.ErrConfig, 1 << 20: slub.ErrNoMemory, 1 << 62: slub.ErrNoMemory} {
		if _, err := c.NewReserve(n); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", n, err, want)
		}
	}
	r, err := c.NewReserve(2)
	if err != nil {
		t.Fatal(err)
	}
	p := take(t, other, 1)[0]
	r.Free(p)
	r.Free(nil)
	if reports != 1 || r.Len() != 2 {
		t.Errorf("%d reports, %d put aside", reports, r.Len())
	}
	other.Free(p)
	r.Close()
}

// TestTypedReserve: the typed forms do the same.
func TestTypedReserve(t *testing.T) {
	c, err := slub.NewTyped[[64]byte](newArena(t, arena.Config{Limit: mib}), slub.Config{Domain: new(rcu.Domain)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewReserve(0); !errors.Is(err, slub.ErrConfig) {
		t.Error(err)
	}
	r, err := c.NewReserve(2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Alloc(t.Context())
	q, err2 := c.AllocContext(t.Context())
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	p[0], q[63] = 1, 2
	r.Free(p)
	c.Free(q)
	if r.Len() != 2 {
		t.Errorf("%d put aside", r.Len())
	}
	r.Close()
	same(t, "Close", c.Close(), nil)
}

package sheaves

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBarnRefusals: what replaceFull says, in the kernel's order. A length that was read without
// the mutex and is out of date is looked at again under it.
func TestBarnRefusals(t *testing.T) {
	r := newRig(t, 1)
	b := &r.barns[0]
	full := r.sheafWith(4)
	refuses := func(want refusal) {
		t.Helper()
		if empty, why := b.replaceFull(full, r.MaxFull()); why != want || empty != nil {
			t.Errorf("refusal %d, want %d", why, want)
		}
	}
	r.arrange(state{main: 0, spare: none, full: 2})
	refuses(tooMany)
	r.arrange(state{main: 0, spare: none, full: 1})
	refuses(noEmpty)
	r.arrange(state{main: 0, spare: none, full: 1, empty: 1})
	b.mu.Lock()
	refuses(busy)
	empty := b.empty.pop()
	b.mu.Unlock() // without publishing the length
	refuses(noEmpty)
	if b.getEmpty() != nil {
		t.Error("got an empty sheaf from an empty list")
	}
	b.put(empty)
	b.mu.Lock()
	r.drop(b.full.pop())
	b.mu.Unlock()
	if b.replaceEmpty(full) != nil {
		t.Error("got a full sheaf from an empty list")
	}
	r.drop(full)
}

// TestBarnHeld: under a stack's lock the mutex is tried a bounded number of times. The walk then
// goes on as if the barn had nothing.
func TestBarnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none, full: 1, empty: 1})
	b := &r.barns[0]
	b.mu.Lock()
	r.within("Alloc", func() {
		if b.tryPut(nil) || b.getEmpty() != nil || b.replaceEmpty(nil) != nil {
			t.Error("a held barn was used")
		}
		r.got(r.TryAlloc())
	})
	b.mu.Unlock()
	r.expect(state{main: 3, spare: 0, full: 1, empty: 1}, events{BarnGetFail: 1, SheafAlloc: 1, SheafRefill: 4})
}

// TestInFlight: wait returns when all goroutines have left that were inside before, even if others
// come meanwhile.
func TestInFlight(t *testing.T) {
	const workers, rounds = 4, 30_000
	var f inFlight
	var inside [workers]atomic.Int64 // odd while the worker is inside
	var done atomic.Int32
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			defer done.Add(1)
			for i := range rounds {
				phase := f.enter()
				inside[w].Add(1)
				if i%8 == 0 {
					runtime.Gosched()
				}
				inside[w].Add(1)
				f.leave(phase)
			}
		})
	}
	for done.Load() < workers {
		var before [workers]int64
		for w := range inside {
			before[w] = inside[w].Load()
		}
		_ = f.wait(context.Background())
		for w, was := range before {
			if was&1 == 1 && inside[w].Load() == was {
				t.Fatalf("worker %d is still inside after %d rounds", w, was/2)
			}
		}
	}
	wg.Wait()
}

// TestInFlightBothPhases: a second wait must look at the other count.
func TestInFlightBothPhases(t *testing.T) {
	var f inFlight
	_ = f.wait(context.Background())
	phase := f.enter()
	waited := make(chan struct{})
	go func() { _ = f.wait(context.Background()); close(waited) }()
	doesNotHappen(t, "wait returns while a goroutine is inside", waited)
	other := f.enter() // a newcomer doesn't make it wait
	f.leave(phase)
	select {
	case <-waited:
	case <-time.After(deadline):
		t.Fatal("wait never returns")
	}
	f.leave(other)
}

// TestInFlightOfAnyPhase: wait waits for a goroutine that has loaded the phase before other waits
// changed it and registers after them, however many these were.
func TestInFlightOfAnyPhase(t *testing.T) {
	over, end := context.WithCancel(context.Background())
	end()
	for waits := range 4 {
		var f inFlight
		phase := f.phase.Load()
		for range waits {
			_ = f.wait(context.Background())
		}
		at := place(shard()<<1) | place(phase&1)
		f.at(at).Add(1) // enter goes on
		for range 3 {
			if err := f.wait(over); !errors.Is(err, context.Canceled) {
				t.Errorf("wait returns %v while a goroutine is inside that loaded phase %d, %d waits ago", err, phase, waits)
			}
		}
		f.leave(at)
		if err := f.wait(over); err != nil {
			t.Errorf("no goroutine is inside: %v", err)
		}
	}
}

// TestInFlightOfAnyCPU: wait waits for goroutines whichever CPU they entered on.
func TestInFlightOfAnyCPU(t *testing.T) {
	over, end := context.WithCancel(context.Background())
	end()
	for cpu := range shards {
		for phase := range 2 {
			var f inFlight
			at := place(cpu<<1 | phase)
			f.at(at).Add(1) // as enter on that CPU
			if err := f.wait(over); !errors.Is(err, context.Canceled) {
				t.Errorf("wait returned %v while a goroutine is inside that entered on CPU %d", err, cpu)
			}
			f.leave(at)
			if err := f.wait(over); err != nil {
				t.Errorf("no goroutine is inside: %v", err)
			}
		}
	}
}

// TestFlushIdle: as many sheaves are flushed as were in the barn all the time since the last call,
// the coldest of those that are there. Sheaves that are in use stay.
func TestFlushIdle(t *testing.T) {
	r := newRig(t, 1)
	r.FlushIdle() // nothing yet
	r.arrange(state{main: 0, spare: none, full: 3})
	b := &r.barns[0]
	own := &b.full.of[shard()]
	coldest := own.head.next.next
	r.FlushIdle() // begins to watch three
	r.expect(state{main: 0, spare: none, full: 3}, events{})
	hot := b.get() // for a moment there are two
	b.put(hot)
	r.FlushIdle()
	r.expect(state{main: 0, spare: none, full: 1}, events{SheafFlush: 8, SheafFree: 2})
	if own.head != hot || hot == coldest {
		t.Error("another sheaf than the one in use stayed")
	}
	r.FlushIdle()
	r.expect(state{main: 0, spare: none}, events{SheafFlush: 12, SheafFree: 3})
	r.FlushIdle()
	r.expect(state{main: 0, spare: none}, events{SheafFlush: 12, SheafFree: 3})
}

// TestCloseWaitsForFlushIdle: the objects that a FlushIdle moves are back before Close returns, and
// a later FlushIdle doesn't wait for Close.
func TestCloseWaitsForFlushIdle(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{main: 0, spare: none, full: 3})
	r.FlushIdle()
	closed := make(chan struct{})
	r.src.onFlush = func() {
		go func() { defer close(closed); r.Close() }()
		doesNotHappen(t, "Close returned while sheaves were being flushed", closed)
	}
	r.FlushIdle()
	<-closed
	r.FlushIdle()
}

package sheaves

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBarnRefusals: what replaceFull says, in the kernel's order, and that a peek
// which has grown old is looked at again under the mutex.
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
	r.arrange(state{0, none, 2, 0})
	refuses(tooMany)
	r.arrange(state{0, none, 1, 0})
	refuses(noEmpty)
	r.arrange(state{0, none, 1, 1})
	b.mu.Lock()
	refuses(busy)
	empty := b.empty.pop()
	b.mu.Unlock() // without telling the peek
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

// TestBarnHeld: under a stack's lock the mutex is tried a bounded number of times. The
// walk then does as if the barn had nothing.
func TestBarnHeld(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 1, 1})
	b := &r.barns[0]
	b.mu.Lock()
	r.within("Alloc", func() {
		if b.tryPut(nil) || b.getEmpty() != nil || b.replaceEmpty(nil) != nil {
			t.Error("a held barn was used")
		}
		r.got(r.Alloc())
	})
	b.mu.Unlock()
	r.expect(state{3, 0, 1, 1}, events{BarnGetFail: 1, SheafAlloc: 1, Refilled: 4})
}

// TestInFlight: wait returns when everybody has left who was there before, whoever
// comes meanwhile.
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
		f.wait()
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
	f.wait()
	phase := f.enter()
	waited := make(chan struct{})
	go func() { f.wait(); close(waited) }()
	stays(t, "wait returns while somebody is inside", waited)
	other := f.enter() // a newcomer doesn't keep it
	f.leave(phase)
	select {
	case <-waited:
	case <-time.After(deadline):
		t.Fatal("wait never returns")
	}
	f.leave(other)
}

// TestFlushIdle: sheaves that were in the barn all the time since the last call go, the
// coldest of those that are there; what comes and goes stays.
func TestFlushIdle(t *testing.T) {
	r := newRig(t, 1)
	r.FlushIdle() // nothing yet
	r.arrange(state{0, none, 3, 0})
	b := &r.barns[0]
	coldest := b.full.head.next.next
	r.FlushIdle() // begins to watch three
	r.expect(state{0, none, 3, 0}, events{})
	hot := b.get() // for a moment there are two
	b.put(hot)
	r.FlushIdle()
	r.expect(state{0, none, 1, 0}, events{Flushed: 8, SheafFree: 2})
	if b.full.head != hot || hot == coldest {
		t.Error("another sheaf than the one in use stayed")
	}
	r.FlushIdle()
	r.expect(state{0, none, 0, 0}, events{Flushed: 12, SheafFree: 3})
	r.FlushIdle()
	r.expect(state{0, none, 0, 0}, events{Flushed: 12, SheafFree: 3})
}

// What FlushIdle has in hand is back before Close returns, and it leaves Close alone.
func TestCloseWaitsForFlushIdle(t *testing.T) {
	r := newRig(t, 1)
	r.arrange(state{0, none, 3, 0})
	r.FlushIdle()
	closed := make(chan struct{})
	r.src.onFlush = func() {
		go func() { defer close(closed); r.Close() }()
		stays(t, "Close returned while sheaves were being flushed", closed)
	}
	r.FlushIdle()
	<-closed
	r.FlushIdle()
}

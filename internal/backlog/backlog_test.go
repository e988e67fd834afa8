package backlog

import (
	"context"
	"testing"
	"time"

	"github.com/slubd/slubd/rcu"
)

// deadline is for what happens soon, and must happen at all.
const deadline = time.Minute

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > deadline {
			t.Fatalf("after %v still not: %s", deadline, what)
		}
	}
}

// TestHardLimit: it holds to the byte. Exceptions are a first charge, and a charge that may not
// wait.
func TestHardLimit(t *testing.T) {
	b := New(Config{Domain: new(rcu.Domain), SoftLimit: 5, HardLimit: 10})
	for _, try := range []struct {
		n  int64
		ok bool
	}{{4, true}, {7, false}, {6, true}, {1, false}} {
		if b.TryCharge(try.n) != try.ok {
			t.Errorf("charging %d at %d of 10: %v", try.n, b.Stats().Bytes, !try.ok)
		}
	}
	b.Charge(3, NoWait)
	if s := b.Stats(); s.Bytes != 13 || s.Peak != 13 || s.Overruns != 1 || s.Waits != 0 || s.Hard != 10 {
		t.Errorf("one overrun by 3: %+v", s)
	}
	b.Release(13)
	if !b.TryCharge(1000) {
		t.Error("a first charge was refused")
	}
	var none *Backlog
	none.Charge(1000, MayWait)
	none.Adjust(1, 2)
	none.Release(1)
	none.CheckSoftLimit()
	none.Add(nil)
	_ = none.Remove(context.Background(), nil)
	if none.Stats() != (Stats{}) || !none.TryCharge(1) {
		t.Error("nil counts")
	}
}

// TestAdjust: a charge that turns out too large or too small is corrected, whatever the limit,
// and one that exceeds it counts as an overrun.
func TestAdjust(t *testing.T) {
	b := New(Config{Domain: new(rcu.Domain), SoftLimit: 5, HardLimit: 10})
	b.Charge(4, NoWait)
	b.Adjust(4, 4)
	b.Adjust(4, 10)
	if s := b.Stats(); s.Bytes != 10 || s.Peak != 10 || s.Overruns != 0 {
		t.Errorf("10 of 10: %+v", s)
	}
	b.Adjust(10, 11)
	b.Adjust(11, 2)
	if s := b.Stats(); s.Bytes != 2 || s.Peak != 11 || s.Overruns != 1 {
		t.Errorf("2 after 11 of 10: %+v", s)
	}
}

// TestWaitEnds: a charge that waits at the hard limit is made when a reader's report makes room,
// exceeds nothing, and lifts the state of blocking.
func TestWaitEnds(t *testing.T) {
	q := &testQueue{backlog: New(Config{Domain: new(rcu.Domain), SoftLimit: Unlimited, HardLimit: 10, MaxWait: Unlimited})}
	b := q.backlog
	b.Add(q)
	reader := b.cfg.Domain.Register("test")
	q.add(10)
	done := make(chan struct{})
	go func() { defer close(done); b.Charge(5, MayWait) }()
	eventually(t, "the charge waits", func() bool { return b.Stats().Waits == 1 && b.limit.blocked.Load() != 0 })
	select {
	case <-done:
		t.Error("the wait ended while the reader is online")
	case <-time.After(20 * time.Millisecond):
	}
	_ = reader.Close()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("the wait doesn't end")
	}
	if s := b.Stats(); s.Bytes != 5 || s.Peak != 10 || s.Overruns != 0 || s.Waited == 0 || b.limit.blocked.Load() != 0 {
		t.Errorf("after the wait: %+v, blocking since %d", s, b.limit.blocked.Load())
	}
}

// TestBlockingIsLifted: the hard limit blocks from the first charge that waits in vain until a
// Release makes room.
func TestBlockingIsLifted(t *testing.T) {
	b := New(Config{Domain: new(rcu.Domain), SoftLimit: Unlimited, HardLimit: 10, MaxWait: time.Millisecond})
	b.Charge(10, MayWait)
	b.Charge(5, MayWait)
	if s := b.Stats(); s.Bytes != 15 || s.Overruns != 1 || s.Waits != 1 || b.limit.blocked.Load() == 0 {
		t.Errorf("behind 10 of 10: %+v, blocking since %d", s, b.limit.blocked.Load())
	}
	if b.Release(4); b.limit.blocked.Load() == 0 {
		t.Error("11 of 10 bytes are charged, and the limit does not block")
	}
	if b.Release(1); b.limit.blocked.Load() != 0 {
		t.Error("10 of 10 bytes are charged, and the limit still blocks")
	}
}

// TestNoWaitInCallback: a callback of the domain would wait for itself.
func TestNoWaitInCallback(t *testing.T) {
	d := new(rcu.Domain)
	b := New(Config{Domain: d, SoftLimit: Unlimited, HardLimit: 10, MaxWait: Unlimited})
	b.Charge(10, MayWait)
	done := make(chan struct{})
	d.Defer(func() {
		defer close(done)
		b.Charge(1, MayWait)
	})
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("a callback waits, and all others with it")
	}
	if s := b.Stats(); s.Overruns != 1 || s.Waits != 1 {
		t.Errorf("in a callback: %+v", s)
	}
}

// TestBounds: how long a wait may last. A bounded one doesn't wait at all once another one has run
// out while the limit was blocking; one that grows or has no bound does.
func TestBounds(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		blocking, max, want, afterwards time.Duration
	}{
		"automatic":     {0, 0, DefaultMaxWait, 0},
		"none":          {0, None, 0, 0},
		"fixed":         {time.Minute, time.Second, time.Second, 0},
		"without bound": {time.Minute, Unlimited, Unlimited, Unlimited},
		"first":         {0, Growing, MinWait, MinWait},
		"soon":          {MinWait / 2, Growing, MinWait, MinWait},
		"later":         {time.Minute, Growing, time.Minute, time.Minute},
	} {
		b := New(Config{MaxWait: c.max})
		if c.blocking > 0 {
			b.limit.blocked.Store(int64(now.Add(-c.blocking).Sub(epoch)))
		}
		since := b.limit.block(now)
		if got := b.bound(now, since); got != c.want {
			t.Errorf("%s: may wait %v, want %v", name, got, c.want)
		}
		b.limit.spent.Store(since)
		if got := b.bound(now, since); got != c.afterwards {
			t.Errorf("%s: may wait %v when a wait has run out, want %v", name, got, c.afterwards)
		}
	}
}

// TestOneWaitRunsOut: behind a reader that doesn't report one charge waits, and after it none until
// the limit has room again; what is charged meanwhile counts as overruns.
func TestOneWaitRunsOut(t *testing.T) {
	b := New(Config{Domain: new(rcu.Domain), SoftLimit: Unlimited, HardLimit: 10})
	reader := b.cfg.Domain.Register("test")
	defer reader.Close()
	b.Charge(10, MayWait)
	for range 3 {
		b.Charge(5, MayWait)
	}
	if s := b.Stats(); s.Waits != 1 || s.Overruns != 3 || s.Bytes != 25 {
		t.Errorf("behind 10 of 10: %+v, want one wait and three overruns", s)
	}
	b.Release(14) // 11 are left
	b.Charge(1, MayWait)
	if s := b.Stats(); s.Waits != 1 || s.Overruns != 4 {
		t.Errorf("behind 11 of 10: %+v, want no other wait", s)
	}
	b.Release(2)
	b.Charge(5, MayWait)
	if s := b.Stats(); s.Waits != 2 || s.Overruns != 5 {
		t.Errorf("when the limit blocks again: %+v, want another wait", s)
	}
}

// TestWaitForContext: a charge with a context waits as long as that, even after another one's wait
// has run out, and is made whatever happens.
func TestWaitForContext(t *testing.T) {
	q := &testQueue{backlog: New(Config{Domain: new(rcu.Domain), SoftLimit: Unlimited, HardLimit: 10})}
	b := q.backlog
	b.Add(q)
	reader := b.cfg.Domain.Register("test")
	q.add(10)
	b.Charge(1, MayWait)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Charge(5, WaitFor(ctx)) }()
	eventually(t, "the charge waits", func() bool { return b.Stats().Waits == 2 })
	select {
	case <-done:
		t.Error("the wait ended before its context")
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	<-done
	if s := b.Stats(); s.Bytes != 16 || s.Overruns != 2 {
		t.Errorf("when the context has ended: %+v", s)
	}
	b.Release(6)
	go func() { _ = reader.Close() }()
	b.Charge(5, WaitFor(context.Background()))
	if s := b.Stats(); s.Bytes != 5 || s.Overruns != 2 {
		t.Errorf("after a wait for room: %+v", s)
	}
}

// TestLimits: which limits are in force.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct{ soft, hard, wantSoft, wantHard int64 }{
		"automatic":    {0, 0, 32, 128},
		"hard":         {0, 8, 2, 8},
		"both":         {3, 8, 3, 8},
		"no hard":      {0, Unlimited, 32, Unlimited},
		"no soft":      {Unlimited, 0, Unlimited, 128},
		"none":         {Unlimited, Unlimited, Unlimited, Unlimited},
		"only soft":    {1, Unlimited, 1, Unlimited},
		"soft by hand": {1, 0, 1, 128},
	} {
		b := New(Config{SoftLimit: c.soft, HardLimit: c.hard, Pool: NewPool(func() int64 { return 128 })})
		if s := b.Stats(); s.Soft != c.wantSoft || s.Hard != c.wantHard {
			t.Errorf("%s: %d and %d, want %d and %d", name, s.Soft, s.Hard, c.wantSoft, c.wantHard)
		}
	}
	if s := New(Config{}).Stats(); s.Soft != Unlimited || s.Hard != Unlimited {
		t.Errorf("automatic without a pool: %d and %d, want no limits", s.Soft, s.Hard)
	}
}

// TestRemove: a queue that was removed takes no part in expedited rounds.
func TestRemove(t *testing.T) {
	q, other := newQueue(), &testQueue{}
	b := q.backlog
	other.backlog = b
	b.Add(other)
	_ = b.Remove(context.Background(), q)
	if len(b.queues) != 1 || b.queues[0] != Queue(other) {
		t.Errorf("%d queues are left, want the other one", len(b.queues))
	}
	other.add(11)
	other.relieved(t)
	_ = b.Remove(context.Background(), other)
	_ = b.Remove(context.Background(), other)
	if q.startCount() != 0 || other.startCount() != 1 || len(b.queues) != 0 {
		t.Errorf("started %d and %d times, %d queues left", q.startCount(), other.startCount(), len(b.queues))
	}
}

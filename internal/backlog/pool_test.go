package backlog

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/rcu"
)

// pooled returns n queues, each of a Backlog of its own, with one automatic limit.
func pooled(n int, hard func() int64) (p *Pool, queues []*testQueue) {
	p = NewPool(hard)
	d := new(rcu.Domain)
	for range n {
		q := &testQueue{backlog: New(Config{Domain: d, Pool: p, MaxWait: Growing})}
		q.backlog.Add(q)
		queues = append(queues, q)
	}
	return p, queues
}

// TestPoolIsOneLimit: however many Backlogs share a limit, together they don't exceed it, and it
// follows what it is made of. Each knows its own part.
func TestPoolIsOneLimit(t *testing.T) {
	var hard atomic.Int64
	hard.Store(10)
	p, qs := pooled(5, hard.Load)
	for i, q := range qs {
		if got, want := q.backlog.TryCharge(4), i < 2; got != want {
			t.Errorf("4 bytes of backlog %d: charged %v, want %v", i, got, want)
		}
	}
	if n, hard := p.Charged(); n != 8 || hard != 10 {
		t.Errorf("%d of %d bytes are charged, want 8 of 10", n, hard)
	}
	hard.Store(100)
	if !qs[4].backlog.TryCharge(4) {
		t.Error("the limit was raised, and a charge refused")
	}
	hard.Store(2)
	if qs[3].backlog.TryCharge(1) {
		t.Error("the limit was lowered, and a charge accepted")
	}
	if s := qs[0].backlog.Stats(); s.Bytes != 4 || s.Peak != 4 || s.LimitBytes != 12 || s.Hard != 2 || s.Soft != 0 {
		t.Errorf("the first one: %+v, want 4 of 12 bytes", s)
	}
	qs[0].backlog.Release(4)
	if n, _ := p.Charged(); n != 8 || qs[0].backlog.Stats().Bytes != 0 {
		t.Errorf("%d bytes are charged after a release of 4 of 12", n)
	}
}

// TestPoolLimitsOfTheirOwn: a Backlog with a hard limit of its own doesn't charge the pool, but
// counts as waiting; one without queues doesn't.
func TestPoolLimitsOfTheirOwn(t *testing.T) {
	p, qs := pooled(1, func() int64 { return 10 })
	own := &testQueue{backlog: New(Config{Domain: new(rcu.Domain), HardLimit: 50, SoftLimit: Unlimited, Pool: p})}
	own.backlog.Add(own)
	own.backlog.Charge(40, NoWait)
	qs[0].backlog.Charge(6, NoWait)
	if n, _ := p.Charged(); n != 6 || p.Waiting() != 46 {
		t.Errorf("%d bytes are charged, %d wait, want 6 and 46", n, p.Waiting())
	}
	_ = own.backlog.Remove(context.Background(), own)
	if n := p.Waiting(); n != 6 || len(p.backlogs) != 1 {
		t.Errorf("%d bytes wait in %d backlogs, want 6 in one", n, len(p.backlogs))
	}
	var none *Pool
	if n, hard := none.Charged(); n != 0 || hard != Unlimited {
		t.Errorf("without a pool: %d of %d", n, hard)
	}
}

// TestPoolWaitStartsAll: a charge that waits for room has the others' grace periods started too.
func TestPoolWaitStartsAll(t *testing.T) {
	_, qs := pooled(2, func() int64 { return 10 })
	qs[0].backlog.Charge(10, NoWait)
	qs[0].mu.Lock()
	qs[0].gathered = 10
	qs[0].mu.Unlock()
	qs[1].backlog.cfg.MaxWait = Unlimited // only room ends the wait
	qs[1].backlog.Charge(5, MayWait)
	if s := qs[1].backlog.Stats(); s.Overruns != 0 || s.Waits != 1 || s.LimitBytes != 5 {
		t.Errorf("%+v, want room by the other backlog's round", s)
	}
}

// TestPoolSoftLimit: what all have charged counts.
func TestPoolSoftLimit(t *testing.T) {
	_, qs := pooled(3, func() int64 { return 40 })
	qs[0].add(5)
	qs[1].add(5)
	if n := qs[0].backlog.Stats().Expedited + qs[1].backlog.Stats().Expedited; n != 0 {
		t.Errorf("%d rounds with 10 of 10 bytes", n)
	}
	qs[2].add(1)
	if n := qs[2].backlog.Stats().Expedited; n != 1 {
		t.Errorf("%d rounds with 11 of 10 bytes, want 1", n)
	}
}

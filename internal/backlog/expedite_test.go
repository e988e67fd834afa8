package backlog

import (
	"runtime"
	"sync"
	"testing"

	"github.com/slubd/slubd/rcu"
)

// A testQueue is a Queue of bare charges: gathered until StartAll, and started until
// ReclaimReady.
type testQueue struct {
	backlog *Backlog

	mu                sync.Mutex
	gathered, started int64
	starts            int
	onReclaim         func() // called once, by the next ReclaimReady, first
}

func (q *testQueue) add(n int64) {
	q.backlog.Charge(n, NoWait)
	q.mu.Lock()
	q.gathered += n
	q.mu.Unlock()
	q.backlog.CheckSoftLimit()
}

func (q *testQueue) StartAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.starts++
	q.started += q.gathered
	q.gathered = 0
}

func (q *testQueue) ReclaimReady() {
	q.mu.Lock()
	run := q.onReclaim
	q.onReclaim = nil
	q.mu.Unlock()
	if run != nil {
		run()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.backlog.Release(q.started)
	q.started = 0
}

func (q *testQueue) startCount() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.starts
}

// newQueue returns the only queue of a backlog with a soft limit of 10 bytes.
func newQueue() *testQueue {
	q := new(testQueue)
	q.backlog = New(Config{Domain: new(rcu.Domain), SoftLimit: 10, HardLimit: Unlimited})
	q.backlog.Add(q)
	return q
}

// relieved waits until no more is charged than the soft limit allows.
func (q *testQueue) relieved(t *testing.T) {
	t.Helper()
	eventually(t, "the backlog is within its soft limit", func() bool { return q.backlog.Stats().Bytes <= 10 })
}

// TestRequestWhileExpediting: a request that comes when the round under way has already started
// everything gets another round, without a further request.
func TestRequestWhileExpediting(t *testing.T) {
	q := newQueue()
	reader := q.backlog.cfg.Domain.Register("test")
	q.add(11)
	eventually(t, "the first is started", func() bool { return q.startCount() == 1 })
	q.add(11)
	if n := q.backlog.Stats().Expedited; n != 1 {
		t.Errorf("%d rounds at a time", n)
	}
	_ = reader.Close()
	q.relieved(t)
}

// TestRequestWhileReclaiming: a new round can begin while the last one reclaims.
func TestRequestWhileReclaiming(t *testing.T) {
	q := newQueue()
	begun := make(chan uint64, 1)
	q.onReclaim = func() {
		q.add(11)
		begun <- q.backlog.Stats().Expedited
	}
	q.add(11)
	if n := <-begun; n != 2 {
		t.Errorf("%d rounds have begun, one of them while the first one reclaims", n)
	}
	q.relieved(t)
}

// TestRoundAfterGoexit: a destructor that ends the goroutine of one round prevents no other.
func TestRoundAfterGoexit(t *testing.T) {
	q := newQueue()
	q.onReclaim = func() {
		q.mu.Lock()
		q.gathered += q.started // the destructor's cache takes what is left behind it
		q.started = 0
		q.mu.Unlock()
		runtime.Goexit()
	}
	q.add(11)
	eventually(t, "the goroutine has ended", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.gathered == 11 && q.onReclaim == nil && !q.backlog.expediting.Load()
	})
	q.add(1)
	q.relieved(t)
}

package sheaves

import (
	"runtime"
	"sync"
	"testing"

	"github.com/slubd/slubd/rcu"
)

// A heap is a Member in which charges lie: gathered, until Submit, and submitted, until
// Reap.
type heap struct {
	backlog *Backlog

	mu                  sync.Mutex
	gathered, submitted uintptr
	submits             int
	onReap              func() // called once, by the next Reap, before it reaps
}

func (h *heap) add(n uintptr) {
	h.backlog.Charge(n, false)
	h.mu.Lock()
	h.gathered += n
	h.mu.Unlock()
	h.backlog.Relieve()
}

func (h *heap) Submit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.submits++
	h.submitted += h.gathered
	h.gathered = 0
}

func (h *heap) Reap() {
	h.mu.Lock()
	run := h.onReap
	h.onReap = nil
	h.mu.Unlock()
	if run != nil {
		run()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.backlog.Release(h.submitted)
	h.submitted = 0
}

func (h *heap) submitCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.submits
}

// newHeap returns a member of a backlog that is hurried beyond 10 bytes.
func newHeap() *heap {
	h := new(heap)
	h.backlog = NewBacklog(BacklogConfig{Domain: new(rcu.Domain), Limits: func() (uint64, uint64) { return 10, 0 }})
	h.backlog.Join(h)
	return h
}

// relieved waits until no more is charged than needs no hurry.
func (h *heap) relieved(t *testing.T) {
	t.Helper()
	eventually(t, "the backlog is within its soft limit", func() bool { return h.backlog.Stats().Bytes <= 10 })
}

// TestHurryWhileHurrying: what exceeds the soft limit when the round that is under way has
// submitted all there was is hurried all the same, though nobody comes again.
func TestHurryWhileHurrying(t *testing.T) {
	h := newHeap()
	reader := h.backlog.cfg.Domain.Register("test")
	h.add(11)
	eventually(t, "the first is submitted", func() bool { return h.submitCount() == 1 })
	h.add(11)
	if n := h.backlog.Stats().Hurries; n != 1 {
		t.Errorf("%d rounds at a time", n)
	}
	_ = reader.Close()
	h.relieved(t)
}

// TestHurryWhileReaping: a new round can begin while the last one reaps.
func TestHurryWhileReaping(t *testing.T) {
	h := newHeap()
	begun := make(chan uint64, 1)
	h.onReap = func() {
		h.add(11)
		begun <- h.backlog.Stats().Hurries
	}
	h.add(11)
	if n := <-begun; n != 2 {
		t.Errorf("%d rounds have begun, one of them while the first one reaps", n)
	}
	h.relieved(t)
}

// TestHurryAfterGoexit: a destructor that ends the goroutine of a round ends no other.
func TestHurryAfterGoexit(t *testing.T) {
	h := newHeap()
	h.onReap = func() {
		h.mu.Lock()
		h.gathered += h.submitted // the destructor's cache takes what is left behind it
		h.submitted = 0
		h.mu.Unlock()
		runtime.Goexit()
	}
	h.add(11)
	eventually(t, "the goroutine has ended", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.gathered == 11 && h.onReap == nil && !h.backlog.hurrying.Load()
	})
	h.add(1)
	h.relieved(t)
}

package freequeue

import (
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/backlog"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/rcu"
)

const size = 64

// A rig is a Queue of two nodes whose only user is the test. Its timer doesn't run; Fire does.
type rig struct {
	Queue
	t      *testing.T
	domain *rcu.Domain
	log    *backlog.Backlog
	objs   []*uint64                // keeps what is only in off-heap pages
	dtor   func(obj unsafe.Pointer) // called once on each object before it counts as reclaimed
	lost   []uintptr

	died atomic.Int64
	mu   sync.Mutex
	gone map[unsafe.Pointer]bool
	next map[uintptr]uintptr // the objects' links
}

// newRig makes a rig. Unless links is set, objects can't be linked.
func newRig(t *testing.T, links bool) *rig {
	r := &rig{t: t, domain: new(rcu.Domain), gone: map[unsafe.Pointer]bool{}, next: map[uintptr]uintptr{}}
	r.log = backlog.New(backlog.Config{Domain: r.domain, SoftLimit: backlog.Unlimited, HardLimit: backlog.Unlimited})
	cfg := Config{Domain: r.domain, Backlog: r.log, Reclaim: r.reclaimed, Delay: 2 * time.Hour, Nodes: 2,
		Lost: func(obj uintptr) { r.lost = append(r.lost, obj) }}
	if links {
		cfg.Links = r
	}
	r.Init(cfg)
	t.Cleanup(func() {
		if err := r.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) reclaimed(objs []unsafe.Pointer) {
	for _, p := range objs {
		if r.dtor != nil {
			r.dtor(p)
		}
		r.mu.Lock()
		if r.gone[p] {
			r.t.Errorf("%p is reclaimed twice", p)
		}
		r.gone[p] = true
		r.mu.Unlock()
		r.died.Add(1)
	}
}

// SetNext and Next implement Links.
func (r *rig) SetNext(obj, next uintptr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next[obj] = next
}

func (r *rig) Next(obj uintptr) (uintptr, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, ok := r.next[obj]
	return next, ok
}

// object makes an object.
func (r *rig) object() unsafe.Pointer {
	obj := new(uint64)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objs = append(r.objs, obj)
	return unsafe.Pointer(obj)
}

// give adds n new objects of node 0, without waiting.
func (r *rig) give(n int) {
	for range n {
		r.Add(r.object(), 0, size, backlog.NoWait)
	}
}

// link adds a new object for which there is no page.
func (r *rig) link() {
	r.t.Helper()
	again := noPages(r.t, 0)
	r.give(1)
	again()
}

// expect fails unless the given number of objects has been reclaimed so far.
func (r *rig) expect(when string, died int64) {
	r.t.Helper()
	if n := r.died.Load(); n != died {
		r.t.Errorf("%s: %d objects are reclaimed, want %d", when, n, died)
	}
}

// settled fails if anything is pending or charged.
func (r *rig) settled() {
	r.t.Helper()
	if n, bytes := r.Pending(), r.log.Stats().Bytes; n != 0 || bytes != 0 {
		r.t.Errorf("%d objects pending, %d bytes charged", n, bytes)
	}
}

// reader adds a reader, which holds up grace periods until it reports.
func (r *rig) reader() *rcu.Reader {
	reader := r.domain.Register("test")
	r.t.Cleanup(func() { _ = reader.Close() })
	return reader
}

// noPages has queues find no page but the given number of the reserve, until again is called or
// the test ends.
func noPages(t *testing.T, leave int) (again func()) {
	t.Helper()
	restore := sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)
	var hoard Hoard
	for hoard.Take() {
	}
	again = func() {
		restore()
		hoard.Give(math.MaxInt)
	}
	t.Cleanup(again)
	if all, ofReserve := hoard.Count(); ofReserve != ReservePages {
		t.Fatalf("of %d pages without memory %d are of the reserve, which has %d", all, ofReserve, ReservePages)
	}
	hoard.Give(leave)
	return again
}

// within waits for what other goroutines bring about.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

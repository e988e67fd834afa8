package slub

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// An exitingDtor is a destructor that does not return from each every-th call. It counts its
// calls.
type exitingDtor struct {
	every int
	leave func() // panics or ends the goroutine
	mu    sync.Mutex
	calls int
	died  map[unsafe.Pointer]int
}

func (d *exitingDtor) destroy(p unsafe.Pointer) {
	d.mu.Lock()
	d.died[p]++
	d.calls++
	leave := d.calls%d.every == 0
	d.mu.Unlock()
	if leave {
		d.leave()
	}
}

func (d *exitingDtor) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.died)
}

// settled fails unless n objects have been destroyed, once each. From then on all calls return.
func (d *exitingDtor) settled(t *testing.T, n int) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.every = math.MaxInt
	if d.calls != n || len(d.died) != n {
		t.Errorf("%d calls for %d objects of %d", d.calls, len(d.died), n)
	}
}

// If a destructor ends its goroutine, or panics and the panic is recovered, no object is lost,
// none is destroyed twice, and all memory comes back, wherever the destructor was called.
func TestDestructorThatDoesNotReturn(t *testing.T) {
	barrier := func(c *Cache) { apart(func() { _ = c.Barrier(context.Background()) }) }
	for name, tt := range map[string]struct {
		cfg   Config
		held  bool // the stacks of rcu_free
		pages int  // of the reserve; -1 if there is memory
		run   func(*Cache)

		recovers bool // every goroutine that calls destructors recovers from panics
	}{
		"sheaves, Barrier": {pages: -1, run: barrier},
		"sheaves, Alloc": {pages: -1, recovers: true, run: func(c *Cache) {
			c.sheaves.StartAll()
			apart(func() {
				for range 300 { // until main is empty
					p, err := c.Alloc()
					if err != nil {
						break
					}
					defer c.Free(p)
				}
			})
			c.freeQueue.StartAll()
			apart(func() { c.freeQueue.Poll() }) // what the destructor left behind
		}},
		"sheaves, expedited": {cfg: Config{RCUSoftLimit: 1}, pages: -1, run: barrier},
		"sheaves, with hooks": {cfg: Config{Hooks: hooks.Hooks{Free: func(hooks.Object) bool { return false }}},
			pages: -1, run: barrier},
		"pages, Barrier": {held: true, pages: -1, run: barrier, recovers: true},
		"pages, Alloc": {held: true, pages: -1, recovers: true, run: func(c *Cache) {
			c.freeQueue.StartAll()
			apart(func() { c.freeQueue.Poll() })
		}},
		"chain, Barrier": {cfg: Config{Ctor: func(unsafe.Pointer) {}}, held: true, run: barrier, recovers: true},
		"waited for":     {held: true, run: barrier, recovers: true},
	} {
		for how, leave := range map[string]func(){"Goexit": runtime.Goexit, "panic": func() { panic("recovered") }} {
			if how == "panic" && !tt.recovers {
				continue // a goroutine of the package calls some, and does not recover
			}
			for every, n := range map[int]int{7: 900, 1: 100} {
				t.Run(fmt.Sprintf("%s, %s of each %dth", name, how, every), func(t *testing.T) {
					d := &exitingDtor{every: every, leave: leave, died: map[unsafe.Pointer]int{}}
					tt.cfg.Size, tt.cfg.RCUDtor, tt.cfg.RCUDelay, tt.cfg.Domain = 64, d.destroy, time.Hour, new(rcu.Domain)
					a := newArena(t, arena.Config{})
					c := open(t, a, tt.cfg)
					ps := take(t, c, n)
					again, release := func() {}, func() {}
					if tt.pages >= 0 {
						again = noMemory(t, tt.pages)
					}
					if tt.held {
						release = holdStacks(c, percpu.RCU)
					}
					for _, p := range ps {
						apart(func() { c.FreeRCU(p) })
					}
					release()
					again()
					for tries := 0; d.count() < n; tries++ {
						if tries == 10*n {
							t.Fatalf("%d of %d destroyed", d.count(), n)
						}
						tt.run(c)
					}
					d.settled(t, n)
					same(t, "Close", c.Close(), nil)
					s := c.Stats().Backlog
					if left := c.freeQueue.Pending(); s.Bytes != 0 || left != 0 || usedBytes(t, a, c.domain) != 0 {
						t.Errorf("%d bytes and %d objects wait, %d bytes are used", s.Bytes, left, usedBytes(t, a, c.domain))
					}
				})
			}
		}
	}
}

// The same for large objects.
func TestLargeDestructorThatDoesNotReturn(t *testing.T) {
	for _, kind := range []string{"run", "mapping"} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			d := &exitingDtor{every: 2, leave: runtime.Goexit, died: map[unsafe.Pointer]int{}}
			a := newArena(t, arena.Config{})
			b := openBuckets(t, a, BucketsConfig{Domain: new(rcu.Domain), RCUDtor: d.destroy})
			var ps []unsafe.Pointer
			for range 9 {
				ps = append(ps, malloc(t, b, kinds[kind]))
			}
			for _, p := range ps {
				b.FreeRCU(p)
			}
			for tries := 0; d.count() < 9 && tries < 100; tries++ {
				apart(func() { _ = b.Barrier(context.Background()) })
			}
			d.settled(t, 9)
			same(t, "Close", b.Close(), nil)
			if b.backlog.Stats().Bytes != 0 || a.Stats().Mapped != 0 || usedBytes(t, a, b.config.Domain) != 0 {
				t.Errorf("%d bytes wait, %d mapped, %d used",
					b.backlog.Stats().Bytes, a.Stats().Mapped, usedBytes(t, a, b.config.Domain))
			}
		})
	}
}

package slub

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// A mortal is a cache whose destructor counts what it is called on.
type mortal struct {
	*Cache
	domain *rcu.Domain
	died   atomic.Int64
}

func openMortal(t *testing.T, a *arena.Arena, cfg Config) *mortal {
	m := &mortal{domain: new(rcu.Domain)}
	cfg.Domain = m.domain
	cfg.RCUDtor = func(unsafe.Pointer) { m.died.Add(1) }
	if cfg.Size == 0 {
		cfg.Size = 64
	}
	m.Cache = open(t, a, cfg)
	return m
}

// within waits for what happens on its own, sooner or later.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s didn't happen", what)
		}
	}
}

func freeRCU(c *Cache, ps []unsafe.Pointer) {
	for _, p := range ps {
		c.FreeRCU(p)
	}
}

// While a reader is online nothing given to FreeRCU is destroyed, changed or handed
// out, however much is allocated; when it has reported, everything is.
func TestFreeRCUWaitsForReaders(t *testing.T) {
	for name, flags := range map[string]Flags{"sheaves": 0, "init on free": InitOnFree} {
		t.Run(name, func(t *testing.T) {
			const n = 1000
			m := openMortal(t, nil, Config{Flags: flags, RCUDelay: time.Millisecond})
			ps := take(t, m.Cache, n)
			retired := map[unsafe.Pointer]bool{}
			for _, p := range ps {
				paint(p, 64, 8)
				retired[p] = true
			}
			r := m.domain.Register("reader")
			freeRCU(m.Cache, ps)
			if s := m.Stats(); s.InUse != 0 || s.RCUObjects != n {
				t.Errorf("%d in use, %d waiting, of %d", s.InUse, s.RCUObjects, n)
			}
			m.Shrink()
			for _, p := range take(t, m.Cache, 2*n) {
				if retired[p] {
					t.Fatalf("%p handed out while the reader is online", p)
				}
				defer m.Free(p)
			}
			for _, p := range ps {
				if !painted(p, 64, 8) {
					t.Fatalf("%p changed while the reader is online", p)
				}
			}
			if d := m.died.Load(); d != 0 {
				t.Errorf("%d destructors ran while the reader is online", d)
			}
			_ = r.Close()
			same(t, "Barrier", m.Barrier(context.Background()), nil)
			if d, s := m.died.Load(), m.Stats(); d != n || s.RCUObjects != 0 {
				t.Errorf("%d destructors of %d ran, %d objects wait", d, n, s.RCUObjects)
			}
		})
	}
}

// A few objects, far from filling a sheaf, don't wait for company for ever, nor for
// company that keeps trickling in.
func TestRCUDelayBoundsTheWait(t *testing.T) {
	m := openMortal(t, nil, Config{RCUDelay: 2 * time.Millisecond})
	freeRCU(m.Cache, take(t, m.Cache, 3))
	within(t, "the destruction of three objects", func() bool { return m.died.Load() == 3 })

	m = openMortal(t, nil, Config{RCUDelay: 10 * time.Millisecond, SheafCapacity: 8000})
	trickled := int64(0)
	within(t, "a destruction beside a trickle", func() bool {
		m.FreeRCU(take(t, m.Cache, 1)[0])
		trickled++
		return m.died.Load() > 0
	})
	if trickled > 6000 {
		t.Errorf("%d objects came before one went", trickled)
	}
}

// The destructor runs once for every object, whichever way that takes.
func TestRCUDtorRunsOnEveryWay(t *testing.T) {
	const n = 500
	holdAll := func(c *Cache) (release func()) {
		var held []*percpu.Stack
		for cpu := range percpu.NumCPU() {
			held = append(held, c.sheaves.Slots.LockCPU(cpu, percpu.RCU))
		}
		return func() {
			for _, st := range held {
				st.Unlock()
			}
		}
	}
	for name, way := range map[string]func(t *testing.T, m *mortal, ps []unsafe.Pointer){
		"full sheaves": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			within(t, "the end of all", func() bool { return m.died.Load() == n })
		},
		"taken by allocations": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			freeAll(m.Cache, take(t, m.Cache, 2*n))
		},
		"bulk": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			again := make([]unsafe.Pointer, 2*n)
			same(t, "AllocBulk", m.AllocBulk(again), nil)
			m.FreeBulk(again)
		},
		"flushed by Shrink": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			m.Shrink()
		},
		"Close": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			same(t, "Close", m.Close(), nil)
		},
		"stacks held": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			release := holdAll(m.Cache)
			freeRCU(m.Cache, ps)
			release()
			if fails := m.Stats().Events[FreeRCUSheafFail]; fails != n {
				t.Errorf("%d of %d objects met a held stack", fails, n)
			}
		},
		"after a Close that failed": func(t *testing.T, m *mortal, ps []unsafe.Pointer) {
			same(t, "Close", m.Close(), ErrBusy)
			freeRCU(m.Cache, ps)
			same(t, "Close", m.Close(), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMortal(t, nil, Config{RCUDelay: time.Millisecond})
			way(t, m, take(t, m.Cache, n))
			same(t, "Barrier", m.Barrier(context.Background()), nil)
			if d := m.died.Load(); d != n {
				t.Errorf("%d destructors ran, of %d", d, n)
			}
			if s := m.Stats(); s.InUse != 0 || s.RCUObjects != 0 {
				t.Errorf("%d in use, %d waiting", s.InUse, s.RCUObjects)
			}
		})
	}
}

// Barrier covers what FreeRCU was given before on any goroutine and in any place,
// and gives up with its context.
func TestBarrier(t *testing.T) {
	m := openMortal(t, nil, Config{RCUDelay: time.Hour})
	freeRCU(m.Cache, take(t, m.Cache, 7))
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if d := m.died.Load(); d != 7 {
		t.Errorf("%d of 7 destructors ran before Barrier returned", d)
	}

	r := m.domain.Register("idler")
	freeRCU(m.Cache, take(t, m.Cache, 5))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	same(t, "Barrier beside a reader that doesn't report", m.Barrier(ctx), context.DeadlineExceeded)
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if d := m.died.Load(); d != 12 {
		t.Errorf("%d of 12 destructors ran", d)
	}

	inside := make(chan error, 1)
	m.domain.Defer(func() { inside <- m.Barrier(context.Background()) })
	same(t, "Barrier in a callback", <-inside, rcu.ErrInCallback)
}

// Without sheaves FreeRCU works all the same.
func TestFreeRCUWithoutSheaves(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: d})
	r := d.Register("reader")
	ps := take(t, c, 50)
	freeRCU(c, ps)
	if s := c.Stats(); s.RCUObjects != 50 || s.InUse != 0 {
		t.Errorf("%d waiting, %d in use", s.RCUObjects, s.InUse)
	}
	_ = r.Close()
	if err := errors.Join(c.Barrier(context.Background()), c.Close()); err != nil {
		t.Error(err)
	}
}

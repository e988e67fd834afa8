package slub_test

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// While a reader is online, no object given to FreeRCU is destroyed, changed or allocated again,
// however much is allocated. When the reader has reported, all are.
func TestFreeRCUWaitsForReaders(t *testing.T) {
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "init on free": slub.InitOnFree} {
		t.Run(name, func(t *testing.T) {
			const n = 1000
			m := openDtorCounter(t, nil, slub.Config{Flags: flags, RCUDelay: time.Millisecond})
			ps := take(t, m.Cache, n)
			retired := map[unsafe.Pointer]bool{}
			for _, p := range ps {
				paint(p, 64, 8)
				retired[p] = true
			}
			r := m.Domain().Register("reader")
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
			if d := m.Died.Load(); d != 0 {
				t.Errorf("%d destructors ran while the reader is online", d)
			}
			_ = r.Close()
			same(t, "Barrier", m.Barrier(context.Background()), nil)
			if d, s := m.Died.Load(), m.Stats(); d != n || s.RCUObjects != 0 {
				t.Errorf("%d destructors of %d ran, %d objects wait", d, n, s.RCUObjects)
			}
		})
	}
}

// A few objects that don't fill a sheaf don't wait for ever, also if further ones come slowly.
func TestRCUDelayBoundsTheWait(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{RCUDelay: 2 * time.Millisecond})
	freeRCU(m.Cache, take(t, m.Cache, 3))
	within(t, "the destruction of three objects", func() bool { return m.Died.Load() == 3 })

	m = openDtorCounter(t, nil, slub.Config{RCUDelay: 10 * time.Millisecond, SheafCapacity: 8000})
	trickled := int64(0)
	within(t, "a destruction while objects come slowly", func() bool {
		m.FreeRCU(take(t, m.Cache, 1)[0])
		trickled++
		return m.Died.Load() > 0
	})
	if trickled > 6000 {
		t.Errorf("%d objects came before one went", trickled)
	}
}

// The destructor runs once for every object, whichever way the object takes.
func TestRCUDtorRunsOnEveryWay(t *testing.T) {
	const n = 500
	for name, way := range map[string]func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer){
		"full sheaves": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			within(t, "the destruction of all", func() bool { return m.Died.Load() == n })
		},
		"taken by allocations": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			freeAll(m.Cache, take(t, m.Cache, 2*n))
		},
		"bulk": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			again := make([]unsafe.Pointer, 2*n)
			same(t, "AllocBulk", m.AllocBulk(again), nil)
			m.FreeBulk(again)
		},
		"flushed by Shrink": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			m.Shrink()
		},
		"Close": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			freeRCU(m.Cache, ps)
			same(t, "Close", m.Close(), nil)
		},
		"stacks held": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			release := holdStacks(m.Cache, percpu.RCU)
			freeRCU(m.Cache, ps)
			release()
			if fails := m.Stats().Events[slub.FreeRCUSheafFail]; fails != n {
				t.Errorf("%d of %d objects met a held stack", fails, n)
			}
		},
		"after a Close that failed": func(t *testing.T, m *dtorCounter, ps []unsafe.Pointer) {
			same(t, "Close", m.Close(), slub.ErrBusy)
			freeRCU(m.Cache, ps)
			same(t, "Close", m.Close(), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := openDtorCounter(t, nil, slub.Config{RCUDelay: time.Millisecond})
			way(t, m, take(t, m.Cache, n))
			same(t, "Barrier", m.Barrier(context.Background()), nil)
			if d := m.Died.Load(); d != n {
				t.Errorf("%d destructors ran, of %d", d, n)
			}
			if s := m.Stats(); s.InUse != 0 || s.RCUObjects != 0 {
				t.Errorf("%d in use, %d waiting", s.InUse, s.RCUObjects)
			}
		})
	}
}

// Barrier waits for everything given to FreeRCU before it, and gives up when its context ends.
func TestBarrier(t *testing.T) {
	m := openDtorCounter(t, nil, slub.Config{RCUDelay: time.Hour})
	freeRCU(m.Cache, take(t, m.Cache, 7))
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if d := m.Died.Load(); d != 7 {
		t.Errorf("%d of 7 destructors ran before Barrier returned", d)
	}

	r := m.Domain().Register("idler")
	freeRCU(m.Cache, take(t, m.Cache, 5))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	same(t, "Barrier beside a reader that doesn't report", m.Barrier(ctx), context.DeadlineExceeded)
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if d := m.Died.Load(); d != 12 {
		t.Errorf("%d of 12 destructors ran", d)
	}

	inside := make(chan error, 1)
	m.Domain().Defer(func() { inside <- m.Barrier(context.Background()) })
	same(t, "Barrier in a callback", <-inside, rcu.ErrInCallback)
}

// FreeRCU works in a cache without sheaves.
func TestFreeRCUWithoutSheaves(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves, Domain: d})
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

package slub

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/rcu"
)

// once has f called when somebody next leaves a row of a queue to come back.
func once(t *testing.T, f func()) (end func()) {
	t.Helper()
	return invariants.Interrupt(func(p invariants.Point) {
		if g := f; p == invariants.RowLeft && g != nil {
			f = nil
			g()
		}
	})
}

// A chain that gets another grace period between the look at it and the taking is not
// taken: readers may hold what came to it.
func TestChainMergedWhileLookedAt(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	m := openMortal(t, nil, Config{Ctor: func(unsafe.Pointer) {}, RCUDelay: time.Hour})
	ps := take(t, m.Cache, 2)
	chain := func(p unsafe.Pointer) {
		m.link(t, p)
		m.rcuQueue.seal(true)
	}
	chain(ps[0]) // over at once
	var r *rcu.Reader
	end := once(t, func() {
		r = register(t, m.domain)
		chain(ps[1])
	})
	m.rcuQueue.Reap()
	end()
	if n := m.died.Load(); n != 0 || r == nil {
		t.Errorf("%d of 2 objects ended under a reader", n)
	}
	_ = r.Close()
	same(t, "Barrier", m.Barrier(context.Background()), nil)
	if n := m.died.Load(); n != 2 {
		t.Errorf("%d of 2 objects ended", n)
	}
}

// A block that somebody gets for a row which has one by then goes back to the pool.
func TestSurplusBlockGoesBack(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs -tags invariants")
	}
	c := open(t, nil, Config{Size: 64, Flags: NoSheaves, Domain: new(rcu.Domain), RCUDelay: time.Hour})
	ps := take(t, c, 2)
	again := noMemory(t, 2)
	before := blocks.imageOut
	end := once(t, func() { c.FreeRCU(ps[1]) })
	c.FreeRCU(ps[0])
	end()
	if n := blocks.imageOut - before; n != 1 || c.rcuQueue.rows[0].open.n != 2 {
		t.Errorf("%d blocks are out for one row of %d objects", n, c.rcuQueue.rows[0].open.n)
	}
	again()
	same(t, "Barrier", c.Barrier(context.Background()), nil)
}

// Who ends what waits is through with what there was when he came, even if as much comes
// meanwhile: Barrier and Close wait for him.
func TestReapHasAnEnd(t *testing.T) {
	var c *Cache
	var next []unsafe.Pointer
	died := 0
	c = open(t, nil, Config{Size: 64, Flags: TypesafeByRCU, Domain: new(rcu.Domain), RCUDelay: time.Hour,
		RCUDtor: func(unsafe.Pointer) {
			if died++; len(next) > 0 {
				p := next[0]
				next = next[1:]
				release := holdStacks(c, percpu.RCU)
				c.FreeRCUNoWait(p)
				release()
				c.rcuQueue.Submit()
			}
		}})
	ps := take(t, c, 50)
	next = ps[1:]
	release := holdStacks(c, percpu.RCU)
	c.FreeRCU(ps[0])
	release()
	c.rcuQueue.Submit()
	for want := 1; want <= len(ps); want++ {
		if c.rcuQueue.reapAll(); died != want {
			t.Fatalf("%d objects ended, of which %d were there", died, want)
		}
	}
}

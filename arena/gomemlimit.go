package arena

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// coupling is one that CoupleGoMemLimit has started. All sizes are bytes.
type coupling struct {
	// Never changed.
	arenas []*Arena
	cfg    Coupling
	watch  *watch // of the arenas; it calls setTotal if cfg.Total is automatic

	based atomic.Int64 // what the arenas held when the limit was last set
	step  atomic.Int64 // how far they may be from that before it is set again

	mu    sync.Mutex // guards the fields below, and setting the limit; nothing is locked under it
	share int64      // for Go and the arenas together
	own   int64      // the program's own limit
	set   int64      // the limit that we have set
	ended bool
}

// coupled is the coupling in force, or nil.
var coupled atomic.Pointer[coupling]

// start makes the coupling the one in force, with a share for Go and the arenas together.
func (c *coupling) start(share int64) (stop func(), err error) {
	c.mu.Lock()
	if !coupled.CompareAndSwap(nil, c) {
		c.mu.Unlock()
		return nil, ErrCoupled
	}
	c.own = debug.SetMemoryLimit(-1)
	c.set = c.own
	c.share = share
	c.adjust()
	for _, a := range c.arenas {
		a.follow.coupled.Store(c.cfg.Total == 0)
	}
	c.mu.Unlock()
	c.follow() // has to follow an unlock of mu, see there
	// Here the coupling is stored, then the arenas' state read. Close stores the arena's state,
	// then reads the coupling. So one of the two sees what the other did.
	for _, a := range c.arenas {
		if a.runs.Load() < 0 {
			c.stop()
			return nil, ErrClosed
		}
	}
	for _, a := range c.arenas {
		a.armFollow()
	}
	return c.stop, nil
}

// stop ends the coupling and restores the program's own limit, unless the program has set another
// meanwhile.
func (c *coupling) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	if now := debug.SetMemoryLimit(c.own); now != c.set {
		debug.SetMemoryLimit(now)
	}
	for _, a := range c.arenas {
		a.follow.coupled.Store(false) // before another coupling may start
	}
	coupled.CompareAndSwap(c, nil)
}

// setTotal makes the coupling one of total bytes, or of the program's own limit if there is no
// telling how many there are.
func (c *coupling) setTotal(total int64) {
	c.mu.Lock()
	if share := c.cfg.share(total); !c.ended && share != c.share {
		c.share = share
		c.adjust()
	}
	c.mu.Unlock()
	c.follow() // a goroutine may have failed to lock mu meanwhile
}

// follow adjusts the limit if the arenas have grown or shrunk by a step, unless another goroutine
// is adjusting it. That one looks again after it has unlocked mu, and so sees what was charged
// before another failed to lock it.
func (c *coupling) follow() {
	for c.stale() && c.mu.TryLock() {
		ended := c.ended
		if !ended {
			c.adjust()
		}
		c.mu.Unlock()
		if ended {
			return
		}
	}
}

// stale reports whether the arenas hold a step more or less than when the limit was set. Without
// steps each run would cost the runtime's heap lock.
func (c *coupling) stale() bool {
	moved := c.held() - c.based.Load()
	return max(moved, -moved) >= c.step.Load()
}

// held is the number of bytes that the arenas may have resident.
func (c *coupling) held() (bytes int64) {
	for _, a := range c.arenas {
		charged, _ := a.ledger.load()
		bytes += charged * mem.PageSize
	}
	return bytes
}

// adjust sets the limit for what the arenas hold now. If the limit in force is not the one that
// adjust has set, the program has set it, and it becomes the program's own. Preconditions: mu is
// held, the coupling has not ended.
func (c *coupling) adjust() {
	held := c.held()
	for {
		limit := c.limit(held)
		was := debug.SetMemoryLimit(limit)
		ours := was == c.set
		c.set = limit
		if ours {
			break
		}
		c.own = was
	}
	c.based.Store(held)
	c.step.Store(max(min(c.own, c.share)/64, 1))
}

// limit is Go's limit while the arenas hold that many bytes.
func (c *coupling) limit(held int64) int64 {
	both, floor := min(c.own, c.share), c.cfg.Floor
	switch floor {
	case 0:
		floor = both / 8
	case None:
		floor = 0
	}
	return min(c.own, max(floor, both-held))
}

// followCoupling is called after pages were charged or uncharged, with no lock held except purging.
func followCoupling() {
	if c := coupled.Load(); c != nil {
		c.follow()
	}
}

// followClose is followCoupling for Close. It ends the coupling if all of its arenas are closed.
func followClose() {
	c := coupled.Load()
	if c == nil {
		return
	}
	for _, a := range c.arenas {
		if a.runs.Load() >= 0 {
			c.follow()
			return
		}
	}
	c.stop()
}

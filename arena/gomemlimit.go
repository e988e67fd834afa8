package arena

import (
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/internal/mem"
)

// coupling is what CoupleGoMemLimit has started. All sizes are bytes.
type coupling struct {
	// Never changed.
	arenas       []*Arena
	share, floor int64 // what Go and the arenas have together; what Go keeps, 0: an eighth

	based atomic.Int64 // what the arenas held when the limit was set last
	step  atomic.Int64 // how far they may be from that

	mu    sync.Mutex // guards the rest, and setting the limit; nothing is locked under it
	own   int64      // the program's own limit
	set   int64      // the limit that we have set
	ended bool
}

// coupled is the coupling in force, nil for none.
var coupled atomic.Pointer[coupling]

// start makes the coupling the one in force.
func (c *coupling) start() (stop func(), err error) {
	c.mu.Lock()
	if !coupled.CompareAndSwap(nil, c) {
		c.mu.Unlock()
		return nil, ErrCoupled
	}
	c.own = debug.SetMemoryLimit(-1)
	c.set = c.own
	c.adjust()
	c.mu.Unlock()
	c.follow() // as whoever had mu
	// Close makes an arena a closed one and then looks for a coupling, so that one
	// of the two sees what the other did.
	for _, a := range c.arenas {
		if a.runs.Load() < 0 {
			c.stop()
			return nil, ErrClosed
		}
	}
	return c.stop, nil
}

// stop brings the program's own limit back, unless the program has set another
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
	coupled.CompareAndSwap(c, nil)
}

// follow adjusts the limit if the arenas have grown or shrunk by a step, unless
// somebody does already. Whoever does looks again after letting go of mu, and so
// sees what was charged before an attempt to get it failed.
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

// stale reports whether the arenas are a step away from what the limit allows
// for. Without steps each run would cost the runtime's heap lock.
func (c *coupling) stale() bool {
	moved := c.held() - c.based.Load()
	return max(moved, -moved) >= c.step.Load()
}

// held is what the arenas may have resident.
func (c *coupling) held() (bytes int64) {
	for _, a := range c.arenas {
		charged, _ := a.ledger.load()
		bytes += int64(charged * mem.PageSize)
	}
	return bytes
}

// adjust sets the limit that goes with what the arenas hold. A limit in force
// that isn't ours the program has set: it becomes its own.
// Preconditions: mu is held, the coupling has not ended.
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

// limit is what Go may have while the arenas hold so much.
func (c *coupling) limit(held int64) int64 {
	both, floor := min(c.own, c.share), c.floor
	if floor == 0 {
		floor = both / 8
	}
	return min(c.own, max(floor, both-held))
}

// followCoupling is called with no lock but purging held, after pages were
// charged or uncharged.
func followCoupling() {
	if c := coupled.Load(); c != nil {
		c.follow()
	}
}

// leaveCoupling ends the coupling when its last arena is closed.
func leaveCoupling() {
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

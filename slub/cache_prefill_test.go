package slub_test

import (
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A prefilled sheaf has at least the objects that were asked for, and hands out each one once. More
// than a sheaf's capacity take an oversize one.
func TestPrefill(t *testing.T) {
	capacity := open(t, nil, slub.Config{Size: 64}).Stats().SheafCapacity
	for _, n := range []int{1, capacity - 1, capacity, capacity + 1, 4 * capacity} {
		c := open(t, nil, slub.Config{Size: 64})
		pre := prefill(t, c, n)
		had := pre.Len()
		if had < n {
			t.Errorf("promised %d, has %d", n, had)
		}
		seen := map[unsafe.Pointer]bool{}
		for p := pre.Alloc(); p != nil; p = pre.Alloc() {
			if seen[p] {
				t.Fatalf("%p given twice", p)
			}
			seen[p] = true
		}
		if len(seen) != had || pre.Len() != 0 {
			t.Errorf("gave %d of %d objects, shows %d", len(seen), had, pre.Len())
		}
		pre.Return()
		if s := c.Stats(); s.InUse != uint64(had) || (s.Events[slub.SheafPrefillOversize] > 0) != (n > capacity) {
			t.Errorf("%d in use of %d, %d of %d asked for were lent in oversize sheaves; the others have %d",
				s.InUse, had, s.Events[slub.SheafPrefillOversize], n, capacity)
		}
		for p := range seen {
			c.Free(p)
		}
	}
}

// Return gives back the objects that are left. A returned sheaf hands out and takes nothing.
func TestPrefillReturn(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	c := open(t, nil, slub.Config{Size: 64, Hardened: slub.None})
	pre := prefill(t, c, 40)
	p := pre.Alloc()
	if !pre.Free(p) {
		t.Error("there is room, and the object isn't taken back")
	}
	q := pre.Alloc()
	pre.Return()
	pre.Return()
	if pre.Alloc() != nil || pre.Len() != 0 {
		t.Error("something is left after Return")
	}
	if pre.Free(q) {
		t.Error("a returned sheaf took an object")
	}
	same(t, "Refill after Return", pre.Refill(1), slub.ErrConfig)
	c.Free(q)
	s := c.Stats()
	if s.InUse != 0 || s.Events[slub.SheafReturnFast]+s.Events[slub.SheafReturnSlow] != 1 {
		t.Errorf("%d in use, %d returns", s.InUse, s.Events[slub.SheafReturnFast]+s.Events[slub.SheafReturnSlow])
	}
}

func TestRefill(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	pre := prefill(t, c, 5)
	defer pre.Return()
	var out []unsafe.Pointer
	for _, n := range []int{0, 3, 60, 200, 100, 700} {
		for range pre.Len() / 2 {
			out = append(out, pre.Alloc())
		}
		if err := pre.Refill(n); err != nil || pre.Len() < n {
			t.Errorf("refilled to %d: %d, %v", n, pre.Len(), err)
		}
	}
	seen := map[unsafe.Pointer]bool{}
	for p := pre.Alloc(); p != nil; p = pre.Alloc() {
		out = append(out, p)
	}
	for _, p := range out {
		if seen[p] {
			t.Fatalf("%p given twice", p)
		}
		seen[p] = true
		c.Free(p)
	}
}

func TestPrefillOfNonsense(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	for _, n := range []int{0, -1, math.MinInt} {
		_, err := c.Prefill(n)
		same(t, "Prefill", err, slub.ErrConfig)
	}
	for _, n := range []int{math.MaxInt, 1 << 61, 1 << 32, 1 << 33} {
		_, err := c.Prefill(n)
		same(t, "Prefill", err, slub.ErrNoMemory)
		pre := prefill(t, c, 1)
		same(t, "Refill", pre.Refill(n), slub.ErrNoMemory)
		if pre.Len() < 1 {
			t.Error("a Refill that failed took what was there")
		}
		pre.Return()
	}
	bare := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	_, err := bare.Prefill(1)
	same(t, "Prefill without sheaves", err, slub.ErrConfig)
	if s := c.Stats(); s.InUse != 0 || s.AllocFailures != 8 {
		t.Errorf("%d in use, %d failures", s.InUse, s.AllocFailures)
	}
}

// A Refill that fails for lack of memory leaves the sheaf as it was, with and without hooks.
func TestRefillThatFails(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 64 << 10})
	for name, hooked := range map[string]bool{"bare": false, "hooked": true} {
		t.Run(name, func(t *testing.T) {
			balance := 0
			cfg := slub.Config{Size: 256}
			if hooked {
				cfg.Hooks = balancing(&balance)
			}
			c := open(t, a, cfg)
			pre := prefill(t, c, 10)
			var out []unsafe.Pointer
			for range 4 {
				out = append(out, pre.Alloc())
			}
			left := pre.Len()
			for _, n := range []int{28, 2000, 28, 5000} {
				if err := pre.Refill(n); n > 1000 {
					same(t, "Refill", err, slub.ErrNoMemory)
				} else if err == nil {
					left = pre.Len()
				}
				if pre.Len() != left {
					t.Errorf("refill to %d failed: %d objects left of %d", n, pre.Len(), left)
				}
				out = append(out, pre.Alloc())
				left--
			}
			if want := len(out) + pre.Len(); hooked && balance != want {
				t.Errorf("hooks saw %d objects go out more than come back, want %d", balance, want)
			}
			pre.Return()
			freeAll(c, out)
			if hooked && balance != 0 {
				t.Errorf("hooks saw %d objects go out more than come back", balance)
			}
		})
	}
}

// Prefill and Refill refuse at once to promise more than MaxPrefill objects, or more than the arena
// may hold. They take nothing from slabs, and no memory for a sheaf.
func TestPrefillBound(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 8 * mib})
	c := open(t, a, slub.Config{Size: 4, Domain: new(rcu.Domain)})
	large := open(t, a, slub.Config{Size: 4096, Domain: new(rcu.Domain)})
	loan, err := c.Prefill(1)
	if err != nil {
		t.Fatal(err)
	}
	defer loan.Return()
	before, runs := loan.Len(), a.InUse()
	for _, tt := range []struct {
		c *slub.Cache
		n int
	}{{c, slub.MaxPrefill + 1}, {c, 1 << 28}, {c, math.MaxInt}, {large, 8*mib/4096 + 1}} {
		if _, err := tt.c.Prefill(tt.n); !errors.Is(err, slub.ErrPrefill) || !errors.Is(err, slub.ErrNoMemory) {
			t.Errorf("%d objects of %d bytes: %v, want ErrPrefill", tt.n, tt.c.Stats().Size, err)
		}
	}
	if err := loan.Refill(slub.MaxPrefill + 1); !errors.Is(err, slub.ErrPrefill) || loan.Len() != before {
		t.Errorf("Refill: %v, and %d objects are left of %d", err, loan.Len(), before)
	}
	if s := large.Stats(); s.Events[slub.SheafPrefillOversize] != 0 || s.Events[slub.AllocSlab] != 0 || s.AllocFailures != 1 || a.InUse() != runs {
		t.Errorf("refused prefills took something: %+v", s)
	}
	if p, err := large.Prefill(mib / 4096); err != nil {
		t.Error(err)
	} else {
		p.Return()
	}
}

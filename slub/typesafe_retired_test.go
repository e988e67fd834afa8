package slub_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// TestTypesafeBehindStuckReader: what waits for a reader that never reports is used again by its
// cache, is shown, counts as waiting, and goes back to the arena when the reader has left.
func TestTypesafeBehindStuckReader(t *testing.T) {
	for name, flags := range map[string]slub.Flags{"sheaves": 0, "no sheaves": slub.NoSheaves} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t, arena.Config{Limit: 4 * mib})
			domain := new(rcu.Domain)
			c := open(t, a, slub.Config{Name: "safe", Size: 1000, Hardened: slub.None, Flags: slub.TypesafeByRCU | flags, Domain: domain})
			reader := domain.Register("stuck")
			used := int64(0)
			for round := range 20 { // of 2 MiB
				objs := take(t, c, 2000)
				if round == 0 {
					used = a.InUse()
				}
				// Other CPUs' sheaves may have taken some.
				if got := a.InUse(); got > used+mib {
					t.Fatalf("round %d: %d bytes are in use, %d were in the first", round, got, used)
				}
				freeAll(c, objs)
				if n := c.Shrink(); n != 0 {
					t.Fatalf("round %d: %d slabs are left", round, n)
				}
				s := c.Stats()
				if n := s.Nodes[0]; int64(n.Retired) != waitingSlabs(c) || n.Retired == 0 || n.Slabs != 0 || n.FreeInSlabs != 0 {
					t.Fatalf("round %d: %+v, want only retired slabs", round, n)
				}
				if s.Backlog.Bytes != a.InUse() || s.InUse != 0 {
					t.Fatalf("round %d: %d bytes wait, the arena has handed out %d; %d objects are in use", round, s.Backlog.Bytes, a.InUse(), s.InUse)
				}
			}

			// Another cache can't have them, and says why.
			other := open(t, a, slub.Config{Size: 1000, Flags: slub.NoSheaves, Domain: domain})
			objs := fillArena(t, other)
			_, err := other.Alloc()
			if !errors.Is(err, slub.ErrNoMemory) || !strings.Contains(err.Error(), `oldest reader is "stuck"`) {
				t.Errorf("another cache: %v", err)
			}
			// The cache itself finds room where there is none for others.
			p, err := c.AllocNoWait()
			if err != nil {
				t.Fatal(err)
			}
			q := take(t, c, 1)[0]
			freeAll(c, append(objs[:0:0], p, q))
			freeAll(other, objs)

			if err := c.CloseContext(canceled(t)); !errors.Is(err, context.Canceled) {
				t.Errorf("CloseContext: %v", err)
			}
			reader.Offline()
			same(t, "Close", c.Close(), nil)
			same(t, "Close", other.Close(), nil)
			if n := a.InUse(); n != 0 {
				t.Errorf("%d bytes are in use after Close", n)
			}
			if b := c.Stats().Backlog.Bytes; b != 0 {
				t.Errorf("%d bytes wait after Close", b)
			}
			reader.Close()
		})
	}
}

// TestTypesafeSoftLimit: retired slabs beyond the soft limit expedite the grace period.
func TestTypesafeSoftLimit(t *testing.T) {
	a := newArena(t, arena.Config{})
	domain := new(rcu.Domain)
	c := open(t, a, slub.Config{Size: 1000, Flags: slub.TypesafeByRCU, Domain: domain, RCUSoftLimit: 64 << 10, RCUHardLimit: 128 << 10})
	reader := domain.Register("reader")
	freeAll(c, take(t, c, 1000))
	c.Shrink()
	s := c.Stats().Backlog
	if s.Expedited == 0 || s.Overruns == 0 || s.Peak < 900_000 {
		t.Errorf("%+v, want rounds and overruns", s)
	}
	reader.Offline()
	within(t, "nothing waits", func() bool { return c.Stats().Backlog.Bytes == 0 && a.InUse() == 0 })
	reader.Close()
}

// TestTypesafeGivesOthersRoom: an allocation that waits for memory gets what another cache's
// retired slabs had.
func TestTypesafeGivesOthersRoom(t *testing.T) {
	a := newArena(t, arena.Config{Limit: mib})
	domain := new(rcu.Domain)
	c := open(t, a, slub.Config{Size: 1000, Flags: slub.TypesafeByRCU, Domain: domain})
	objs := fillArena(t, c)
	reader := domain.Register("reader")
	freeAll(c, objs)
	c.Shrink()
	if waitingSlabs(c) == 0 {
		t.Fatal("no slab is retired")
	}
	other := open(t, a, slub.Config{Size: 1000, Domain: new(rcu.Domain)})
	if _, err := other.Alloc(); !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("with the reader: %v", err)
	}
	reader.Offline()
	p, err := other.AllocContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other.Free(p)
	reader.Close()
}

package slub_test

import (
	"math"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub"
)

// TestTune: what is set is in force and shown, 0 is automatic, None keeps none.
func TestTune(t *testing.T) {
	stay(t)
	c := open(t, nil, slub.Config{Size: 64, BarnFull: 3, BarnEmpty: 4})
	limits := func(capacity, full, empty int) {
		t.Helper()
		s := c.Stats()
		if s.SheafCapacity != capacity || s.MaxBarnFull != full || s.MaxBarnEmpty != empty {
			t.Errorf("limits are %d, %d and %d; want %d, %d and %d",
				s.SheafCapacity, s.MaxBarnFull, s.MaxBarnEmpty, capacity, full, empty)
		}
	}
	automatic := sheaves.Capacity(64, 0)
	limits(automatic, 3, 4)
	freeAll(c, take(t, c, 1000))
	for _, n := range []int{7, percpu.MaxCap, 1} {
		same(t, "SetSheafCapacity", c.SetSheafCapacity(n), nil)
		limits(n, 3, 4)
		want := max(16, waitingBytes/64/n)
		if got := maxWaiting(c); got != want {
			t.Errorf("%d sheaves of %d may wait, want %d", got, n, want)
		}
		if s := c.Stats(); s.SheafObjects != 0 || s.Nodes[0].BarnObjects != 0 {
			t.Errorf("%d objects in sheaves, %d in the barn after the change", s.SheafObjects, s.Nodes[0].BarnObjects)
		}
		freeAll(c, take(t, c, 1000))
	}
	same(t, "SetSheafCapacity", c.SetSheafCapacity(0), nil)
	same(t, "SetBarnLimits", c.SetBarnLimits(slub.None, slub.None), nil)
	limits(automatic, 0, 0)
	freeAll(c, take(t, c, 1000))
	if n := c.Stats().Nodes[0].BarnFull; n != 0 {
		t.Errorf("%d sheaves in a barn that keeps none", n)
	}
	same(t, "SetBarnLimits", c.SetBarnLimits(slub.Unlimited, 0), nil)
	limits(automatic, math.MaxInt32, 10)
	none := open(t, nil, slub.Config{Size: 64, BarnFull: slub.None, BarnEmpty: slub.Unlimited})
	if s := none.Stats(); s.MaxBarnFull != 0 || s.MaxBarnEmpty != math.MaxInt32 {
		t.Errorf("limits are %d and %d", s.MaxBarnFull, s.MaxBarnEmpty)
	}
}

func TestTuneRefused(t *testing.T) {
	c := open(t, nil, slub.Config{Size: 64})
	for _, n := range []int{-1, percpu.MaxCap + 1} {
		same(t, "SetSheafCapacity", c.SetSheafCapacity(n), slub.ErrConfig)
	}
	same(t, "SetBarnLimits", c.SetBarnLimits(-2, 0), slub.ErrConfig)
	same(t, "SetBarnLimits", c.SetBarnLimits(0, 1<<31), slub.ErrConfig)
	freeAll(c, take(t, c, 1)) // a CPU has a sheaf
	restore := sys.FailNth(sys.CallReserve, 1, syscall.ENOMEM)
	same(t, "SetSheafCapacity", c.SetSheafCapacity(percpu.MaxCap), slub.ErrNoMemory)
	restore()
	if n := c.Stats().SheafCapacity; n != sheaves.Capacity(64, 0) {
		t.Errorf("a refused change left a capacity of %d", n)
	}
	bare := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	same(t, "SetSheafCapacity", bare.SetSheafCapacity(5), slub.ErrConfig)
	same(t, "SetBarnLimits", bare.SetBarnLimits(5, 5), slub.ErrConfig)
	same(t, "Close", c.Close(), nil)
	same(t, "SetSheafCapacity", c.SetSheafCapacity(5), slub.ErrClosed)
	same(t, "SetBarnLimits", c.SetBarnLimits(5, 5), slub.ErrClosed)
	same(t, "SetMinPartial", c.SetMinPartial(5), slub.ErrClosed)
	same(t, "SetRemoteDefragRatio", c.SetRemoteDefragRatio(5), slub.ErrClosed)
}

package slab

import (
	"errors"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// An account is what a test charges slabs to. It compares the charge with what the arena has handed
// out, at every change.
type account struct {
	t              *testing.T
	arena          *arena.Arena
	charged, limit atomic.Int64
}

var errOverLimit = errors.New("over the limit")

func (a *account) charge(bytes int64) error {
	a.compare("before a run is taken")
	if a.charged.Load()+bytes > a.limit.Load() {
		return errOverLimit
	}
	a.charged.Add(bytes)
	return nil
}

func (a *account) uncharge(bytes int64) {
	a.charged.Add(-bytes)
	a.compare("after a run is back")
}

// compare wants the charge to be the runs of the arena, whose only user the slabs are.
func (a *account) compare(when string) {
	a.t.Helper()
	if used, charged := a.arena.InUse(), a.charged.Load(); used != charged {
		a.t.Errorf("%s: %d bytes are charged, %d are in use", when, charged, used)
	}
}

func openCharged(t *testing.T, cfg Config, limit int64) (*rig, *account) {
	t.Helper()
	if cfg.Arena == nil {
		cfg.Arena = newArena(t, arena.Config{})
	}
	a := &account{t: t, arena: cfg.Arena}
	a.limit.Store(limit)
	cfg.Charge, cfg.Uncharge = a.charge, a.uncharge
	r := open(t, 512, cfg)
	t.Cleanup(func() { r.Shrink(); a.compare("at the end") })
	return r, a
}

// A slab is charged as long as the arena doesn't have its run: also while it is empty and kept.
func TestRunsAreCharged(t *testing.T) {
	r, a := openCharged(t, Config{MinPartial: 2, Order: 1}, 1<<20)
	want := func(when string, slabs int64) {
		t.Helper()
		a.compare(when)
		if got := a.charged.Load(); got != slabs*2*mem.PageSize {
			t.Errorf("%s: %d bytes are charged, want those of %d slabs", when, got, slabs)
		}
	}
	want("without slabs", 0)
	slabs := r.fullSlabs(3)
	want("with three slabs", 3)
	for _, ps := range slabs {
		r.FreeBulk(ps)
	}
	want("with two empty slabs that are kept", 2)
	r.Shrink()
	want("after Shrink", 0)
}

// A slab that waits for a grace period has its pages, and is charged until they are back.
func TestWaitingSlabsAreCharged(t *testing.T) {
	var waiting []func()
	r, a := openCharged(t, Config{MinPartial: arena.None, AfterGracePeriod: func(f func()) { waiting = append(waiting, f) }}, 1<<20)
	r.FreeBulk(r.take(r.perSlab))
	if a.charged.Load() != mem.PageSize || len(waiting) != 1 {
		t.Errorf("%d bytes are charged while %d slabs wait", a.charged.Load(), len(waiting))
	}
	for _, f := range waiting {
		f()
	}
	if n := a.charged.Load(); n != 0 {
		t.Errorf("%d bytes are charged after the grace period", n)
	}
}

// What is refused takes nothing, a smaller slab is asked for before Take fails, and what the arena
// can't give is not charged.
func TestRefusedRuns(t *testing.T) {
	r, a := openCharged(t, Config{Order: 3}, 9*mem.PageSize)
	ps := r.take(r.perSlab)
	small := r.take(1) // of a slab of one page
	if got, want := a.charged.Load(), int64(9*mem.PageSize); got != want {
		t.Errorf("%d bytes are charged, want %d", got, want)
	}
	rest := make([]unsafe.Pointer, 100)
	n, err := r.Take(0, rest, false)
	if !errors.Is(err, errOverLimit) || n != mem.PageSize/512-1 {
		t.Errorf("over the limit: %d objects, %v", n, err)
	}
	r.FreeBulk(append(append(ps, small...), rest[:n]...))

	a.limit.Store(1 << 40)
	a.arena.SetLimit(arena.None)
	r.Shrink()
	if _, err := r.Take(0, rest, false); !errors.Is(err, arena.ErrLimit) || a.charged.Load() != 0 {
		t.Errorf("the arena's limit: %v, and %d bytes are charged", err, a.charged.Load())
	}
}
